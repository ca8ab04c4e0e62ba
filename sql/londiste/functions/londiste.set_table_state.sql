create or replace function londiste.set_table_state(
    i_queue_name text, i_table_name text, i_snapshot text, i_merge_state text)
returns integer as $$
-- londiste.set_table_state(4): another name of londiste.subscriber_set_table_state.
-- Parameters:
--      i_queue_name    queue it is subscribed from
--      i_table_name    a subscribed table
--      i_snapshot      snapshot of its copy, or null
--      i_merge_state   the new state
-- Returns:  1
-- Raises:   undefined_object "no such table"
begin
    return londiste.subscriber_set_table_state(i_queue_name, i_table_name, i_snapshot, i_merge_state);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
