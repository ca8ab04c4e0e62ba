create or replace function pgq.get_consumer_info(
    i_queue_name text, i_consumer_name text,
    out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
    out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record as $$
-- pgq.get_consumer_info(2): state of a consumer.
-- Parameters:
--      i_queue_name         queue; null: any
--      i_consumer_name      consumer; null: any
-- Returns:  rows ordered by queue and consumer, none for unknown ones. lag is the age of the last
--           finished tick, last_seen the time since the last sign of life, pending_events the events
--           between the last finished tick and the newest; null where the tick is gone, or for an
--           idle member of a cooperative group
-- Reads:    pgq.queue, pgq.consumer, pgq.subscription, pgq.tick
-- Used by:  pgqadm status, monitoring
begin
    return query
        select q.queue_name, c.co_name,
               pgq._age(last.tick_time),
               pgq._age(s.sub_active),
               s.sub_last_tick, s.sub_batch, s.sub_next_tick,
               newest.tick_event_seq - last.tick_event_seq
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
         where (i_queue_name is null or q.queue_name = i_queue_name)
           and (i_consumer_name is null or c.co_name = i_consumer_name)
         order by q.queue_name, c.co_name;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.get_consumer_info(
    i_queue_name text,
    out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
    out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record as $$
-- pgq.get_consumer_info(1): state of a queue's consumers.
-- Parameters:
--      i_queue_name      queue; null: any
-- Returns:  as pgq.get_consumer_info(2)
-- Used by:  pgqadm status, monitoring
begin
    return query select * from pgq.get_consumer_info(i_queue_name, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.get_consumer_info(
    out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
    out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record as $$
-- pgq.get_consumer_info(0): state of all consumers.
-- Returns:  as pgq.get_consumer_info(2)
-- Used by:  pgqadm status, monitoring
begin
    return query select * from pgq.get_consumer_info(null, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
