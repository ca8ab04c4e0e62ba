create or replace function londiste.set_copy_source(
    i_queue_name text, i_table_name text, i_consumer text, i_source_dsn text)
returns integer as $$
-- londiste.set_copy_source(4): remembers that a table is copied from another node than the provider, and by which
--           consumer there.
-- Parameters:
--      i_queue_name    subscribed queue
--      i_table_name    a table: schema.table
--      i_consumer      consumer of the copy, once it is registered there; null before
--      i_source_dsn    connect string of the node, which may hold a password; null: forget it
-- Returns:  1 if something changed
-- Changes:  londiste.copy_source
-- Used by:  londiste subscriber add --copy-from, copy, replay
begin
    if i_source_dsn is null then
        delete from londiste.copy_source where queue_name = i_queue_name and table_name = i_table_name;
        return case when found then 1 else 0 end;
    end if;
    insert into londiste.copy_source (queue_name, table_name, consumer_id, source_dsn)
    values (i_queue_name, i_table_name, i_consumer, i_source_dsn)
        on conflict (queue_name, table_name) do update
       set consumer_id = excluded.consumer_id,
           source_dsn = excluded.source_dsn;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
