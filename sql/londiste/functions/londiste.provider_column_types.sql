create or replace function londiste.provider_column_types(i_queue_name text, i_table_name text)
returns text as $$
-- londiste.provider_column_types(2): the roles of a registered table's columns, by the key it was
--           registered with.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table
-- Returns:  as londiste.find_column_types
-- Raises:   "table not found", registered or in the catalog; what londiste.find_column_types raises for an
--           index
-- Reads:    londiste.provider_table
-- Used by:  provider_add_table, provider_refresh_trigger
declare
    v_index     text;
begin
    select key_index into v_index
      from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name;
    if not found then
        raise exception 'table not found: % is not registered', i_table_name
            using errcode = 'undefined_object';
    end if;
    if v_index is null then
        return londiste.find_column_types(i_table_name);
    end if;
    return londiste.find_column_types(i_table_name, v_index);
end;
$$ language plpgsql strict stable set search_path = pg_catalog, pg_temp;
