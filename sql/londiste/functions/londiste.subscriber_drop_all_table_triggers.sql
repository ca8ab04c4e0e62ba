create or replace function londiste.subscriber_drop_all_table_triggers(i_table_name text)
returns integer as $$
-- londiste.subscriber_drop_all_table_triggers(1): drops all triggers of a table and remembers them.
-- Parameters:
--      i_table_name    an existing table
-- Returns:  1
-- Raises:   undefined_table "table not found"
-- Changes:  londiste.subscriber_pending_triggers
-- Locks:    ACCESS EXCLUSIVE on the table, if it has triggers
declare
    v_name      text;
begin
    for v_name in
        select trigger_name from londiste.find_table_triggers(i_table_name)
    loop
        perform londiste.subscriber_drop_table_trigger(i_table_name, v_name);
    end loop;
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
