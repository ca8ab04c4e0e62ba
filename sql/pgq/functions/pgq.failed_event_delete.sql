create or replace function pgq.failed_event_delete(x_queue_name text, x_consumer_name text, x_event_id bigint)
returns integer as $$
-- pgq.failed_event_delete(3): forgets an event that a consumer gave up on.
-- Parameters:
--      x_queue_name, x_consumer_name      consumer
--      x_event_id                         one of its failed events
-- Returns:  1
-- Raises:   "no such queue/consumer"; "event not found"
-- Changes:  pgq.failed_queue
-- Used by:  administrators
declare
    v_owner integer := pgq._owner_id(x_queue_name, x_consumer_name);
begin
    if v_owner is null then
        raise exception 'no such queue/consumer';
    end if;
    delete from pgq.failed_queue where ev_owner = v_owner and ev_id = x_event_id;
    if not found then
        raise exception 'event not found';
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
