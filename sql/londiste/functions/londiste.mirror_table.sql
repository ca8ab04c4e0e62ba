create or replace function londiste.mirror_table(i_queue_name text)
returns text as $$
-- londiste.mirror_table(1): table that takes the events that a relay copies in this transaction.
-- Parameters:
--      i_queue_name    a queue with ticks from outside
-- Returns:  its name, unquoted
-- Raises:   object_not_in_prerequisite_state if the queue makes its own ticks, or does not exist
-- Reads:    pgq.queue
-- Used by:  replay of a relay
declare
    v_table     text;
begin
    -- As in pgq.current_event_table: readers look into this table as long as the transaction is open.
    perform txid_current();
    select q.queue_data_pfx || '_' || q.queue_cur_table into v_table
      from pgq.queue q
     where q.queue_name = i_queue_name and q.queue_external_ticker;
    if not found then
        raise exception 'queue "%" is no relay''s queue', i_queue_name
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return v_table;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
