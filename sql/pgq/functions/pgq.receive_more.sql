create or replace function pgq.receive_more(
    i_batch_id bigint, i_after_event bigint, i_max_events integer,
    out batch_id bigint, out ev_id bigint, out ev_time timestamptz, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text,
    out left_in_batch bigint)
returns setof record as $$
-- pgq.receive_more(3): further events of a batch. Reads the whole batch each time; for large batches
-- pgq.get_batch_cursor is the tool.
-- Parameters:
--      i_batch_id          an open batch
--      i_after_event       ev_id of the last event that was received; null: from the beginning
--      i_max_events        rows at most; null: all
-- Returns:  as pgq.receive(3); no rows if nothing is left: then the batch can be finished
-- Raises:   "batch not found"
-- Reads:    the event tables, with the caller's rights
-- Used by:  consumers that have only SQL, pgq.receive
begin
    return query
        select i_batch_id, e.ev_id, e.ev_time, e.ev_retry, e.ev_type, e.ev_data,
               e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4,
               count(*) over () - row_number() over (order by e.ev_id)
          from pgq.get_batch_events(i_batch_id) e
         where i_after_event is null or e.ev_id > i_after_event
         order by e.ev_id
         limit i_max_events;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
