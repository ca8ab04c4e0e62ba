create or replace function londiste.provider_refresh_trigger(i_queue_name text, i_table_name text)
returns integer as $$
-- londiste.provider_refresh_trigger(2): creates the trigger of a registered table anew, after columns
--           were added, dropped or got other roles.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table
-- Returns:  1
-- Raises:   "table not found"
begin
    return londiste.provider_refresh_trigger(i_queue_name, i_table_name, londiste.find_column_types(i_table_name));
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;

create or replace function londiste.provider_refresh_trigger(i_queue_name text, i_table_name text, i_col_types text)
returns integer as $$
-- londiste.provider_refresh_trigger(3): as the short form, with given column roles.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table
--      i_col_types     as londiste.find_column_types gives them
-- Returns:  1
-- Raises:   "table not found"
-- Changes:  londiste.provider_table, if an older version left a name the server had cut
-- Locks:    ACCESS EXCLUSIVE on the table
declare
    v_trigger   text;
begin
    select trigger_name into v_trigger
      from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name
       for update;
    if not found then
        raise exception 'table not found: % is not registered', i_table_name
            using errcode = 'undefined_object';
    end if;

    execute format('drop trigger if exists %I on %s', v_trigger, londiste.quote_fqname(i_table_name));
    update londiste.provider_table
       set trigger_name = londiste.trigger_name(i_queue_name)
     where queue_name = i_queue_name and table_name = i_table_name
       and trigger_name is distinct from londiste.trigger_name(i_queue_name);
    return londiste.provider_create_trigger(i_queue_name, i_table_name, i_col_types);
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
