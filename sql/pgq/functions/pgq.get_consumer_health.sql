create or replace function pgq.get_consumer_health(
    i_queue_name text, i_consumer_name text,
    out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
    out pending_events bigint, out batch_id bigint, out batch_age interval, out waiting interval,
    out is_lost boolean, out blocks_rotation boolean,
    out retry_events bigint, out failed_events bigint, out failed_oldest interval)
returns setof record as $$
-- pgq.get_consumer_health(2): what there is to watch about a consumer.
-- Parameters:
--      i_queue_name         queue; null: any
--      i_consumer_name      consumer; null: any
-- Returns:  rows ordered by queue and consumer, none for unknown ones, nor for an idle member of a
--           cooperative group.
--           lag: age of the last finished tick; last_seen: time since the last sign of life, of any
--           member of a cooperative group; pending_events: events it has not finished, about.
--           batch_id, batch_age: its open batch, and for how long it has been open.
--           waiting: how long there has been something to do that it has not begun; null: nothing.
--           is_lost: its position is gone, it cannot read on.
--           blocks_rotation: it has not passed the last switch of tables.
--           retry_events, failed_events, failed_oldest: events that wait for their redelivery, that it
--           gave up on, and since when, of the whole group
-- Reads:    pgq.queue, pgq.consumer, pgq.subscription, pgq.tick, pgq.retry_queue, pgq.failed_queue
-- Used by:  pgq.get_problems, pgqadm status, monitoring
begin
    return query
        select q.queue_name, c.co_name,
               pgq._age(last.tick_time),
               pgq._age((select max(m.sub_active)
                           from pgq.subscription m
                          where m.sub_queue = s.sub_queue and m.sub_id = s.sub_id)),
               newest.tick_event_seq - last.tick_event_seq,
               s.sub_batch,
               case when s.sub_batch is not null then pgq._age(s.sub_active) end,
               pgq._age(first.tick_time),
               last.tick_id is null,
               coalesce(txid_snapshot_xmin(last.tick_snapshot) <= q.queue_switch_step2, last.tick_id is null),
               (select count(*) from pgq.retry_queue r where r.ev_owner = s.sub_id and r.ev_queue = q.queue_id),
               failed.events, failed.oldest
          from pgq.queue q
          join pgq.subscription s on s.sub_queue = q.queue_id
          join pgq.consumer c on c.co_id = s.sub_consumer
          left join pgq.tick last on last.tick_queue = s.sub_queue and last.tick_id = s.sub_last_tick
          left join lateral (
                   select t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_queue desc, t.tick_id desc
                    limit 1) newest on true
          left join lateral (
                   select t.tick_time
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                      and t.tick_id > coalesce(s.sub_next_tick, s.sub_last_tick)
                    order by t.tick_queue, t.tick_id
                    limit 1) first on true
         cross join lateral (
                   select count(*) as events, pgq._age(min(f.ev_failed_time)) as oldest
                     from pgq.failed_queue f
                    where f.ev_owner = s.sub_id) failed
         where s.sub_last_tick is not null
           and (i_queue_name is null or q.queue_name = i_queue_name)
           and (i_consumer_name is null or c.co_name = i_consumer_name)
         order by q.queue_name, c.co_name;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp set jit = off;

create or replace function pgq.get_consumer_health(
    out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
    out pending_events bigint, out batch_id bigint, out batch_age interval, out waiting interval,
    out is_lost boolean, out blocks_rotation boolean,
    out retry_events bigint, out failed_events bigint, out failed_oldest interval)
returns setof record as $$
-- pgq.get_consumer_health(0): what there is to watch about all consumers, ordered by queue and name.
-- Returns:  as pgq.get_consumer_health(2)
-- Used by:  monitoring
begin
    return query select * from pgq.get_consumer_health(null, null);
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp;
