create or replace function pgq.batch_event_sql(x_batch_id bigint)
returns text as $$
-- pgq.batch_event_sql(1): query for the events of a batch.
-- Parameters:
--      x_batch_id      an open batch
-- Returns:  text of a SELECT of ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1 to
--           ev_extra4, ordered by ev_id; good as a cursor's query or a sub-select
-- Raises:   "batch not found"
-- Reads:    pgq.subscription, pgq.tick, pgq.queue
-- Used by:  pgq.get_batch_events, clients that declare cursors
begin
    return pgq._batch_sql(x_batch_id, null) || ' order by 1';
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
