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
    return query select * from pgq._queue_health(i_queue_name, true);
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
