create or replace function pgq.insert_event(
    queue_name text, ev_type text, ev_data text,
    ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
returns bigint as $$
-- pgq.insert_event(7): inserts an event.
-- Parameters:
--      queue_name      an existing queue
--      ev_type .. ev_extra4      content, each may be null
-- Returns:  id of the event
-- Raises:   as pgq.insert_event_raw
-- Changes:  the queue's current table
-- Used by:  producers, triggers
begin
    return pgq.insert_event_raw($1, null, null, null, null, $2, $3, $4, $5, $6, $7);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text)
returns bigint as $$
-- pgq.insert_event(3): inserts an event without extra fields.
-- Parameters:
--      queue_name          an existing queue
--      ev_type, ev_data    content, each may be null
-- Returns:  id of the event
-- Raises:   as pgq.insert_event_raw
-- Changes:  the queue's current table
-- Used by:  producers
    select pgq.insert_event($1, $2, $3, null, null, null, null);
$$ language sql;
