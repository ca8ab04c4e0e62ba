create or replace function pgq.insert_events(
    i_queue_name text, i_ev_type text[], i_ev_data text[],
    i_ev_extra1 text[], i_ev_extra2 text[], i_ev_extra3 text[], i_ev_extra4 text[])
returns bigint[] as $$
-- pgq.insert_events(7): inserts many events at once, many times faster than one by one.
-- Parameters:
--      i_queue_name      an existing queue
--      i_ev_type         type of each event; null: none has one
--      i_ev_data         data of each event
--      i_ev_extra1 .. i_ev_extra4      further fields of each event; null: none has them
-- Returns:  ids of the events, in the order of the arrays
-- Raises:   as pgq.insert_event_raw; "Array of event data must not be NULL"; "Arrays of events
--           differ in length"
-- Reads:    pgq.queue
-- Changes:  the queue's current table; all events or none
-- Used by:  bulk producers
begin
    return pgq._insert_events(i_queue_name, null, i_ev_type, i_ev_data,
                              i_ev_extra1, i_ev_extra2, i_ev_extra3, i_ev_extra4);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.insert_events(i_queue_name text, i_ev_type text, i_ev_data text[])
returns bigint[] as $$
-- pgq.insert_events(3): inserts many events of one type at once, many times faster than one by one.
-- Parameters:
--      i_queue_name      an existing queue
--      i_ev_type         type of all events
--      i_ev_data         data of each event
-- Returns:  ids of the events, in the order of the array
-- Raises:   as pgq.insert_events(7)
-- Reads:    pgq.queue
-- Changes:  the queue's current table; all events or none
-- Used by:  bulk producers
begin
    return pgq._insert_events(i_queue_name, i_ev_type, null, i_ev_data, null, null, null, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
