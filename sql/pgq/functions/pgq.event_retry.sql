create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_time timestamptz)
returns integer as $$
-- pgq.event_retry(bigint, bigint, timestamptz): has an event delivered again to this consumer.
-- Parameters:
--      x_batch_id        an open batch
--      x_event_id        an event of it
--      x_retry_time      not before this time
-- Returns:  1, or 0 if the event waits already
-- Raises:   "event not found"
-- Changes:  pgq.retry_queue
-- Used by:  consumers
begin
    insert into pgq.retry_queue (
        ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, ev_owner, ev_retry,
        ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select x_retry_time, e.queue_id, e.ev_id, e.ev_time, null, e.owner_id, coalesce(e.ev_retry, 0) + 1,
           e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
      from pgq._batch_event(x_batch_id, x_event_id) e
        on conflict (ev_owner, ev_id) do nothing;
    return case when found then 1 else 0 end;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_seconds integer)
returns integer as $$
-- pgq.event_retry(bigint, bigint, integer): has an event delivered again to this consumer.
-- Parameters:
--      x_batch_id           an open batch
--      x_event_id           an event of it
--      x_retry_seconds      not before so many seconds from now
-- Returns:  1, or 0 if the event waits already
-- Raises:   "event not found"
-- Changes:  pgq.retry_queue
-- Used by:  consumers
begin
    return pgq.event_retry(x_batch_id, x_event_id, current_timestamp + make_interval(secs => x_retry_seconds));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
