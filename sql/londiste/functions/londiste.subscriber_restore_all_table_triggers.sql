create or replace function londiste.subscriber_restore_all_table_triggers(i_table_name text)
returns integer as $$
-- londiste.subscriber_restore_all_table_triggers(1): creates all pending triggers of a table.
-- Parameters:
--      i_table_name    schema.table, raw
-- Returns:  1
-- Raises:   as londiste.subscriber_restore_table_trigger
-- Changes:  londiste.subscriber_pending_triggers
declare
    v_name      text;
begin
    for v_name in
        select trigger_name from londiste.subscriber_get_table_pending_triggers(i_table_name)
    loop
        perform londiste.subscriber_restore_table_trigger(i_table_name, v_name);
    end loop;
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
