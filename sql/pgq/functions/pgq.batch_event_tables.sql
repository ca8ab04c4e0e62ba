create or replace function pgq.batch_event_tables(x_batch_id bigint)
returns setof text as $$
-- pgq.batch_event_tables(1): tables that may hold events of a batch.
-- Parameters:
--      x_batch_id      an open batch
-- Returns:  one or two names, unquoted, the older table first
-- Raises:   "Cannot find data for batch ..."
-- Reads:    pgq.queue, pgq.subscription, pgq.tick
-- Used by:  clients
declare
    v_tables    text[] := (select p.tables from pgq._batch_place(x_batch_id) p);
begin
    if v_tables is null then
        raise exception 'Cannot find data for batch %', x_batch_id;
    end if;
    return query select unnest(v_tables);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
