create or replace function pgq.event_failed(x_batch_id bigint, x_event_id bigint, x_reason text)
returns integer as $$
-- pgq.event_failed(3): keeps an event that the consumer gives up on.
-- Parameters:
--      x_batch_id      an open batch
--      x_event_id      an event of it
--      x_reason        why, for whoever looks at it
-- Returns:  1, or 0 if it is kept already
-- Raises:   "event not found"
-- Changes:  pgq.failed_queue
-- Used by:  consumers
begin
    insert into pgq.failed_queue (
        ev_failed_reason, ev_failed_time, ev_id, ev_time, ev_txid, ev_owner, ev_retry,
        ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select x_reason, now(), e.ev_id, e.ev_time, null, e.owner_id, coalesce(e.ev_retry, 0),
           e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
      from pgq._batch_event(x_batch_id, x_event_id) e
        on conflict (ev_owner, ev_id) do nothing;
    return case when found then 1 else 0 end;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
