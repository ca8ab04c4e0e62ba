create or replace function pgq.get_queue_health(
    i_queue_name text,
    out queue_name text, out ticker_paused boolean, out external_ticker boolean, out insert_disabled boolean,
    out ticker_lag interval, out ticker_limit interval, out new_events bigint,
    out rotation_age interval, out rotation_overdue interval, out switch_pending boolean,
    out rotation_blocker text, out rotation_blocker_name text, out rotation_blocker_age interval,
    out event_tables_size bigint,
    out retry_events bigint, out retry_overdue interval, out failed_events bigint)
returns setof record as $$
-- pgq.get_queue_health(1): what there is to watch about a queue.
-- Parameters:
--      i_queue_name      queue; null: all, ordered by name
-- Returns:  no row for an unknown queue.
--           ticker_lag: age of the newest tick, null without one; ticker_limit: how old it becomes at
--           most while a ticker works, null if the queue is paused or ticks from elsewhere;
--           new_events: events since the newest tick, about; null without one.
--           rotation_age: time since the last switch of tables; rotation_overdue: how long the next one
--           has been due, null if it is not; switch_pending: the last one is incomplete;
--           rotation_blocker: who keeps a due or incomplete switch waiting: 'snapshot' (a session's
--           snapshot from before the last switch), 'transaction' or 'prepared transaction' (begun before
--           it), 'consumer' (has not passed it), 'lock' (a session uses the next table); null if it is
--           none of these. rotation_blocker_name: process id, global id or consumer; null if it cannot
--           be seen. rotation_blocker_age: age of the transaction; of the last sign of life of a consumer.
--           event_tables_size: bytes on disk, with indexes.
--           retry_events: events that wait for their redelivery; retry_overdue: how long the first of
--           them has been due; failed_events: events that consumers gave up on
-- Reads:    pgq.queue, pgq.tick, pgq.subscription, pgq.retry_queue, pgq.failed_queue, the event
--           sequences and the sizes of the event tables
-- Used by:  pgq.get_problems, pgqadm status, monitoring
begin
    return query
        select q.queue_name, q.queue_ticker_paused, q.queue_external_ticker, q.queue_disable_insert,
               pgq._age(newest.tick_time),
               case when not q.queue_ticker_paused and not q.queue_external_ticker
                    then greatest(q.queue_ticker_idle_period, q.queue_ticker_max_lag)
               end,
               case when newest.tick_event_seq is not null
                    then greatest(pgq._seq_position(q.queue_event_seq) - newest.tick_event_seq, 0)
               end,
               pgq._age(q.queue_switch_time),
               due.overdue,
               q.queue_switch_step2 is null,
               b.blocker, b.blocker_name, b.blocker_age,
               (select sum(pg_total_relation_size(to_regclass(
                               pgq.quote_fqname(q.queue_data_pfx || '_' || n))))::bigint
                  from generate_series(0, q.queue_ntables - 1) n),
               retry.events, retry.overdue,
               (select count(*)
                  from pgq.failed_queue f
                 where f.ev_owner in (select s.sub_id from pgq.subscription s where s.sub_queue = q.queue_id))
          from pgq.queue q
          left join lateral (
                   select t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_queue desc, t.tick_id desc
                    limit 1) newest on true
         cross join lateral (
                   select case when now() > q.queue_switch_time + q.queue_rotation_period
                               then now() - q.queue_switch_time - q.queue_rotation_period
                          end as overdue) due
         cross join lateral (
                   select count(*) as events,
                          case when min(r.ev_retry_after) < now() then now() - min(r.ev_retry_after) end as overdue
                     from pgq.retry_queue r
                    where r.ev_queue = q.queue_id) retry
          left join lateral pgq._rotation_blocker(q.queue_id) b
                 on due.overdue is not null or q.queue_switch_step2 is null
         where i_queue_name is null or q.queue_name = i_queue_name
         order by q.queue_name;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.get_queue_health(
    out queue_name text, out ticker_paused boolean, out external_ticker boolean, out insert_disabled boolean,
    out ticker_lag interval, out ticker_limit interval, out new_events bigint,
    out rotation_age interval, out rotation_overdue interval, out switch_pending boolean,
    out rotation_blocker text, out rotation_blocker_name text, out rotation_blocker_age interval,
    out event_tables_size bigint,
    out retry_events bigint, out retry_overdue interval, out failed_events bigint)
returns setof record as $$
-- pgq.get_queue_health(0): what there is to watch about all queues, ordered by name.
-- Returns:  as pgq.get_queue_health(1)
-- Used by:  monitoring
begin
    return query select * from pgq.get_queue_health(null);
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp;
