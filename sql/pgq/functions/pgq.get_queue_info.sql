create or replace function pgq.get_queue_info(
    i_queue_name text,
    out queue_name text, out queue_ntables integer, out queue_cur_table integer,
    out queue_rotation_period interval, out queue_switch_time timestamptz,
    out queue_external_ticker boolean, out queue_ticker_paused boolean,
    out queue_ticker_max_count integer, out queue_ticker_max_lag interval, out queue_ticker_idle_period interval,
    out ticker_lag interval, out ev_per_sec float8, out ev_new bigint, out last_tick_id bigint)
returns setof record as $$
-- pgq.get_queue_info(1): settings and state of a queue.
-- Parameters:
--      i_queue_name      queue; null: all, ordered by name
-- Returns:  no row for an unknown queue. ticker_lag is the age of the newest tick, ev_per_sec the rate
--           over the last 20 ticks, ev_new the events since the newest tick, open transactions'
--           included; all null without a tick, the last two but one if ticks of an older version do not know
--           their position
-- Reads:    pgq.queue, pgq.tick, the event sequences
-- Used by:  pgqadm status, monitoring
begin
    return query
        select q.queue_name, q.queue_ntables, q.queue_cur_table, q.queue_rotation_period,
               q.queue_switch_time, q.queue_external_ticker, q.queue_ticker_paused,
               q.queue_ticker_max_count, q.queue_ticker_max_lag, q.queue_ticker_idle_period,
               pgq._age(newest.tick_time),
               case when newest.tick_time > earlier.tick_time
                         and newest.tick_event_seq - earlier.tick_event_seq is not null
                    -- Ticks of other versions count from one more, and a sequence may have been set back.
                    then greatest(newest.tick_event_seq - earlier.tick_event_seq, 0)
                         / extract(epoch from newest.tick_time - earlier.tick_time)::float8
               end,
               case when newest.tick_event_seq is not null
                    then greatest(pgq._seq_position(q.queue_event_seq) - newest.tick_event_seq, 0)
               end,
               newest.tick_id
          from pgq.queue q
          left join lateral (
                   select t.tick_id, t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_queue desc, t.tick_id desc
                    limit 1) newest on true
          left join lateral (
                   select t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                      and t.tick_id >= newest.tick_id - 20
                    order by t.tick_queue, t.tick_id
                    limit 1) earlier on true
         where i_queue_name is null or q.queue_name = i_queue_name
         order by q.queue_name;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp set jit = off;

create or replace function pgq.get_queue_info(
    out queue_name text, out queue_ntables integer, out queue_cur_table integer,
    out queue_rotation_period interval, out queue_switch_time timestamptz,
    out queue_external_ticker boolean, out queue_ticker_paused boolean,
    out queue_ticker_max_count integer, out queue_ticker_max_lag interval, out queue_ticker_idle_period interval,
    out ticker_lag interval, out ev_per_sec float8, out ev_new bigint, out last_tick_id bigint)
returns setof record as $$
-- pgq.get_queue_info(0): settings and state of all queues, ordered by name.
-- Returns:  as pgq.get_queue_info(1)
-- Used by:  pgqadm status, monitoring
begin
    return query select * from pgq.get_queue_info(null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
