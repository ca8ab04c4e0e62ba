create or replace function pgq_coop.next_batch_custom(
    i_queue_name text, i_consumer_name text, i_subconsumer_name text,
    i_min_lag interval, i_min_count integer, i_min_interval interval, i_dead_interval interval)
returns bigint as $$
-- pgq_coop.next_batch_custom(7): opens the group's next batch, of a wanted size, for one of its members.
-- Parameters:
--      i_queue_name            an existing queue
--      i_consumer_name         main consumer of the group; registered if it is not yet
--      i_subconsumer_name      the member; registered if it is not yet
--      i_min_lag, i_min_count, i_min_interval      as for pgq.next_batch_custom
--      i_dead_interval         take over from a member that has been silent for so long; null: never.
--                              What it held comes first. It is removed, and cannot finish its batch
--                              any more: the batch has a new id. pgq_coop.touch_subconsumer prevents it
-- Returns:  id of the batch, the open one if the member has one; null if there is none
-- Raises:   "main consumer has batch open?" if the main consumer itself has taken a batch; as
--           pgq_coop.register_subconsumer; as pgq.next_batch_custom
-- Reads:    pgq.queue, pgq.consumer, pgq.tick
-- Changes:  pgq.subscription: the group's position moves on at once, the member keeps the ticks of its
--           batch. pgq.consumer
-- Locks:    the rows of the main consumer and of the member until the end of the transaction, so commit
--           before working on the batch
-- Used by:  pgq_coop.next_batch, cooperative consumers
declare
    v_main      record;
    v_member    record;
    v_silent    record;
    v_batch     record;
    v_batch_id  bigint;
begin
    select * into v_main from pgq_coop._lock_main(i_queue_name, i_consumer_name);
    if v_main.next_tick is not null then
        raise exception 'main consumer has batch open?';
    end if;
    perform pgq_coop.register_subconsumer(i_queue_name, i_consumer_name, i_subconsumer_name);
    -- The live row comes first in this order, before the dead versions that an old snapshot may hold.
    select s.* into v_member
      from pgq.subscription s
     where s.sub_queue = v_main.queue_id
       and s.sub_consumer = (select c.co_id
                               from pgq.consumer c
                              where c.co_name = i_consumer_name || '.' || i_subconsumer_name)
     order by s.sub_version desc
     limit 1
       for update;

    if v_member.sub_batch is not null then
        update pgq.subscription
           set sub_active = now(),
               sub_version = sub_version + 1
         where sub_queue = v_member.sub_queue
           and sub_consumer = v_member.sub_consumer
           and sub_version = v_member.sub_version;
        return v_member.sub_batch;
    end if;

    if i_dead_interval is not null then
        for v_silent in
            select n.*
              from pgq.consumer c
             cross join lateral (
                       select s.*
                         from pgq.subscription s
                        where s.sub_queue = v_main.queue_id
                          and s.sub_consumer = c.co_id
                        order by s.sub_version desc
                        limit 1) n
             where starts_with(c.co_name, i_consumer_name || '.')
               and n.sub_id = v_main.group_id
               and n.sub_consumer <> v_member.sub_consumer
               and n.sub_active < now() - i_dead_interval
             order by n.sub_batch is null, n.sub_active
        loop
            -- A member that is just finishing or touching its row is alive.
            perform
               from pgq.subscription s
              where s.sub_queue = v_silent.sub_queue
                and s.sub_consumer = v_silent.sub_consumer
                and s.sub_version = v_silent.sub_version
                for update skip locked;
            continue when not found;
            delete from pgq.subscription
             where sub_queue = v_silent.sub_queue
               and sub_consumer = v_silent.sub_consumer
               and sub_version = v_silent.sub_version;
            perform pgq._drop_unused_consumers(array[v_silent.sub_consumer]);
            if v_silent.sub_batch is not null then
                v_batch_id := nextval('pgq.batch_id_seq');
                update pgq.subscription
                   set sub_batch = v_batch_id,
                       sub_last_tick = v_silent.sub_last_tick,
                       sub_next_tick = v_silent.sub_next_tick,
                       sub_active = now(),
                       sub_version = sub_version + 1
                 where sub_queue = v_member.sub_queue
                   and sub_consumer = v_member.sub_consumer
                   and sub_version = v_member.sub_version;
                return v_batch_id;
            end if;
            exit;
        end loop;
    end if;

    select b.batch_id, b.prev_tick_id, b.cur_tick_id
      into v_batch
      from pgq.next_batch_custom(i_queue_name, i_consumer_name, i_min_lag, i_min_count, i_min_interval) b;
    if v_batch.batch_id is null then
        -- A sign of life now and then: an idle member that asks for work is not dead. Not each time,
        -- members ask often.
        update pgq.subscription
           set sub_active = now(),
               sub_version = sub_version + 1
         where sub_queue = v_member.sub_queue
           and sub_consumer = v_member.sub_consumer
           and sub_version = v_member.sub_version
           and sub_active < now() - coalesce(i_dead_interval / 4, interval '10 seconds');
        return null;
    end if;

    update pgq.subscription
       set sub_last_tick = v_batch.cur_tick_id,
           sub_next_tick = null,
           sub_batch = null,
           sub_active = now(),
           sub_version = sub_version + 1
     where sub_batch = v_batch.batch_id;
    update pgq.subscription
       set sub_batch = v_batch.batch_id,
           sub_last_tick = v_batch.prev_tick_id,
           sub_next_tick = v_batch.cur_tick_id,
           sub_active = now(),
           sub_version = sub_version + 1
     where sub_queue = v_member.sub_queue
       and sub_consumer = v_member.sub_consumer
       and sub_version = v_member.sub_version;
    return v_batch.batch_id;
end;
-- Plans are kept from the time when the tables were small. The names are read whole all the same, and what
-- that seems to cost then must not start a compiler.
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp set enable_seqscan = off
   set jit = off;

create or replace function pgq_coop.next_batch_custom(
    i_queue_name text, i_consumer_name text, i_subconsumer_name text,
    i_min_lag interval, i_min_count integer, i_min_interval interval)
returns bigint as $$
-- pgq_coop.next_batch_custom(6): opens the group's next batch, of a wanted size, for one of its members.
-- Parameters:
--      i_queue_name, i_consumer_name, i_subconsumer_name      as for pgq_coop.next_batch_custom(7)
--      i_min_lag, i_min_count, i_min_interval                 as for pgq.next_batch_custom
-- Returns:  as pgq_coop.next_batch_custom(7), which takes nothing over from others
-- Raises:   as pgq_coop.next_batch_custom(7)
-- Changes:  pgq.subscription, pgq.consumer
-- Used by:  cooperative consumers
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name,
                                      i_min_lag, i_min_count, i_min_interval, null);
end;
$$ language plpgsql set search_path = pg_catalog, pgq_coop, pg_temp;
