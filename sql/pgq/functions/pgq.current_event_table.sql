create or replace function pgq.current_event_table(x_queue_name text)
returns text as $$
-- pgq.current_event_table(1): table that now takes the events of a queue, for COPY and INSERT.
-- Parameters:
--      x_queue_name      an existing queue
-- Returns:  its name, unquoted; good until the end of the transaction
-- Raises:   "Event queue not found"; "Writing to queue disabled"
-- Reads:    pgq.queue
-- Used by:  bulk loaders
declare
    v_table     text;
    v_disabled  boolean;
begin
    -- With a transaction id of its own, the caller holds back the xmin of later ticks: readers go on
    -- looking into the table even if a switch comes between this call and the write.
    perform txid_current();

    select q.queue_data_pfx || '_' || q.queue_cur_table, q.queue_disable_insert
      into v_table, v_disabled
      from pgq.queue q
     where q.queue_name = x_queue_name;
    if not found then
        raise exception 'Event queue not found';
    end if;
    if v_disabled and current_setting('session_replication_role') <> 'replica' then
        raise exception 'Writing to queue disabled';
    end if;
    return v_table;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
