create or replace function londiste.subscriber_add_table(i_queue_name text, i_table text)
returns integer as $$
-- londiste.subscriber_add_table(2): subscribes to a table; replay will copy it.
-- Parameters:
--      i_queue_name    queue it is registered for on the provider
--      i_table         schema.table, raw; not looked up
-- Returns:  0
-- Raises:   unique_violation if it is subscribed
-- Changes:  londiste.subscriber_table
begin
    insert into londiste.subscriber_table (queue_name, table_name)
    values (i_queue_name, i_table);
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
