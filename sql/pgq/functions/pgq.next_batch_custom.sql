create or replace function pgq.next_batch_custom(
    i_queue_name text, i_consumer_name text, i_min_lag interval, i_min_count integer, i_min_interval interval,
    out batch_id bigint, out cur_tick_id bigint, out prev_tick_id bigint,
    out cur_tick_time timestamptz, out prev_tick_time timestamptz,
    out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
as $$
-- pgq.next_batch_custom(5): opens the next batch, of a wanted size; returns the open one if there is.
-- Parameters:
--      i_queue_name, i_consumer_name      a registered consumer
--      i_min_lag            age that the end of the batch must have; null: none
--      i_min_count          events that the batch should have about; null: any
--      i_min_interval       time that the batch should span about; null: any
-- Returns:  batch_id; the tick that ends it (cur), the one it starts after (prev), their times and
--           positions of the event sequence, which hint at the size; all null if there is no batch
-- Raises:   "Not subscriber to queue: queue/consumer"; "PgQ corruption: ..."
-- Reads:    pgq.queue, pgq.consumer, pgq.tick
-- Changes:  pgq.subscription
-- Locks:    the row of pgq.subscription: two sessions of one consumer get the same batch
-- Used by:  pgq.next_batch, pgq.next_batch_info, clients
declare
    v_queue     integer;
    v_consumer  integer;
    v_sub       record;
begin
    select q.queue_id, c.co_id
      into v_queue, v_consumer
      from pgq.queue q, pgq.consumer c
     where q.queue_name = i_queue_name
       and c.co_name = i_consumer_name;
    if found then
        -- A statement of its own: joined ticks would not be looked up again after a wait. The live
        -- row comes first in this order, before the dead versions that an old snapshot may hold.
        select * into v_sub
          from pgq.subscription s
         where s.sub_queue = v_queue
           and s.sub_consumer = v_consumer
         order by s.sub_version desc
         limit 1
           for update;
    end if;
    if not found then
        raise exception 'Not subscriber to queue: %/%',
            coalesce(i_queue_name, 'NULL'), coalesce(i_consumer_name, 'NULL')
            using hint = format('To register it: select pgq.register_consumer(%L, %L)',
                                i_queue_name, i_consumer_name);
    end if;

    select t.tick_id, t.tick_time, t.tick_event_seq
      into prev_tick_id, prev_tick_time, prev_tick_event_seq
      from pgq.tick t
     where t.tick_queue = v_queue
       and t.tick_id = v_sub.sub_last_tick;
    if not found then
        raise exception 'PgQ corruption: Consumer % on queue % does not see tick %',
            i_consumer_name, i_queue_name, coalesce(v_sub.sub_last_tick::text, 'NULL')
            using hint = case when v_sub.sub_last_tick is null
                              then 'A member of a cooperative group takes its batches with pgq_coop.next_batch.'
                              else format('To go on at the newest tick, and lose what lies before:'
                                          ' select pgq.unregister_consumer(%1$L, %2$L),'
                                          ' pgq.register_consumer(%1$L, %2$L)',
                                          i_queue_name, i_consumer_name)
                         end;
    end if;

    if v_sub.sub_batch is not null then
        batch_id := v_sub.sub_batch;
        cur_tick_id := v_sub.sub_next_tick;
        select t.tick_time, t.tick_event_seq
          into cur_tick_time, cur_tick_event_seq
          from pgq.tick t
         where t.tick_queue = v_queue
           and t.tick_id = v_sub.sub_next_tick;
        return;
    end if;

    if i_min_count is null and i_min_interval is null then
        select t.tick_id, t.tick_time, t.tick_event_seq
          into cur_tick_id, cur_tick_time, cur_tick_event_seq
          from pgq.tick t
         where t.tick_queue = v_queue
           and t.tick_id > v_sub.sub_last_tick
         order by t.tick_queue, t.tick_id
         limit 1;
    else
        select h.next_tick_id, h.next_tick_time, h.next_tick_seq
          into cur_tick_id, cur_tick_time, cur_tick_event_seq
          from pgq.find_tick_helper(v_queue, prev_tick_id, prev_tick_time, prev_tick_event_seq,
                                    i_min_count, i_min_interval) h;
    end if;

    -- Further ahead than the wanted age, a tick is from before the clock was set back, and not young; less far, the
    -- clock of the node that made it may just be ahead.
    if cur_tick_id is null or now() - cur_tick_time < i_min_lag and cur_tick_time - now() < i_min_lag then
        prev_tick_id := null;
        prev_tick_time := null;
        prev_tick_event_seq := null;
        cur_tick_id := null;
        cur_tick_time := null;
        cur_tick_event_seq := null;
        return;
    end if;

    batch_id := nextval('pgq.batch_id_seq');
    update pgq.subscription
       set sub_batch = batch_id,
           sub_next_tick = cur_tick_id,
           sub_active = now(),
           sub_version = sub_version + 1
     where sub_queue = v_queue
       and sub_consumer = v_consumer
       and sub_version = v_sub.sub_version;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp set enable_seqscan = off;
