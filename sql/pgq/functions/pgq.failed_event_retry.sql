create or replace function pgq.failed_event_retry(x_queue_name text, x_consumer_name text, x_event_id bigint)
returns bigint as $$
-- pgq.failed_event_retry(3): puts an event that a consumer gave up on back into the queue, for it alone.
-- Parameters:
--      x_queue_name, x_consumer_name      consumer
--      x_event_id                         one of its failed events
-- Returns:  id of the event
-- Raises:   "no such queue/consumer"; "event not found"; as pgq.insert_event_raw
-- Changes:  pgq.failed_queue, the queue's current table
-- Used by:  administrators
declare
    v_owner integer := pgq._owner_id(x_queue_name, x_consumer_name);
    v_event record;
begin
    if v_owner is null then
        raise exception 'no such queue/consumer';
    end if;
    delete from pgq.failed_queue
     where ev_owner = v_owner
       and ev_id = x_event_id
 returning * into v_event;
    if not found then
        raise exception 'event not found';
    end if;
    return pgq.insert_event_raw(
        x_queue_name, v_event.ev_id, v_event.ev_time, v_event.ev_owner, v_event.ev_retry,
        v_event.ev_type, v_event.ev_data,
        v_event.ev_extra1, v_event.ev_extra2, v_event.ev_extra3, v_event.ev_extra4);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
