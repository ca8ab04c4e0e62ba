create or replace function pgq.get_batch_events(
    x_batch_id bigint,
    out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record as $$
-- pgq.get_batch_events(1): events of a batch, ordered by ev_id.
-- Parameters:
--      x_batch_id      an open batch
-- Returns:  one row per event; ev_retry is null on first delivery
-- Raises:   "batch not found"
-- Reads:    the event tables, with the caller's rights
-- Used by:  consumers
begin
    return query execute pgq.batch_event_sql(x_batch_id);
end;
-- Compiling the query would take longer than running it.
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp set jit = off;
