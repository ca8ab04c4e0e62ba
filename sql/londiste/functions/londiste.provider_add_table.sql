create or replace function londiste.provider_add_table(i_queue_name text, i_table_name text)
returns integer as $$
-- londiste.provider_add_table(2): registers a table and captures its changes.
-- Parameters:
--      i_queue_name    an existing queue
--      i_table_name    schema.table, raw
-- Returns:  1
-- Raises:   "table not found", and what the long form raises
begin
    return londiste.provider_add_table(i_queue_name, i_table_name, londiste.find_column_types(i_table_name));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;

create or replace function londiste.provider_add_table(i_queue_name text, i_table_name text, i_col_types text)
returns integer as $$
-- londiste.provider_add_table(3): registers a table and captures its changes, with given column roles.
-- Parameters:
--      i_queue_name    an existing queue
--      i_table_name    schema.table, raw
--      i_col_types     as londiste.find_column_types gives them
-- Returns:  1
-- Raises:   "Linked queue, manipulation not allowed"; "need key column"; "need fully-qualified table name";
--           undefined_object "no such event queue"; unique_violation if it is registered;
--           what londiste.provider_create_trigger raises
-- Changes:  londiste.provider_table; creates a trigger (lock SHARE ROW EXCLUSIVE on the table)
begin
    perform londiste.provider_check_new_table(i_queue_name, i_table_name, i_col_types, false);
    insert into londiste.provider_table (queue_name, table_name, trigger_name)
    values (i_queue_name, i_table_name, londiste.trigger_name(i_queue_name));

    perform londiste.provider_create_trigger(i_queue_name, i_table_name, i_col_types);
    return 1;
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;

create or replace function londiste.provider_add_table(
    i_queue_name text, i_table_name text, i_capture text, i_truncate boolean, i_key_index text, i_insert_only boolean)
returns integer as $$
-- londiste.provider_add_table(6): registers a table and captures its changes, in a way that later
--           refreshes keep.
-- Parameters:
--      i_queue_name    an existing queue
--      i_table_name    schema.table, raw
--      i_capture       row, statement or generic, as pgq.create_capture takes them
--      i_truncate      whether TRUNCATE is captured: readers have to know events of type R
--      i_key_index     unique index whose columns are the key; null: the primary key
--      i_insert_only   whether updates and deletes of the table are errors, so that it needs no key
-- Returns:  1
-- Raises:   as the form with three parameters, and londiste.find_column_types for the index
-- Changes:  as the form with three parameters
-- Used by:  provider add
declare
    v_columns   text;
begin
    if i_key_index is null then
        v_columns := londiste.find_column_types(i_table_name);
    else
        v_columns := londiste.find_column_types(i_table_name, i_key_index);
    end if;
    perform londiste.provider_check_new_table(i_queue_name, i_table_name, v_columns, i_insert_only);
    insert into londiste.provider_table (queue_name, table_name, trigger_name, capture_level, capture_truncate,
                                         key_index, insert_only)
    values (i_queue_name, i_table_name, londiste.trigger_name(i_queue_name, i_capture), i_capture, i_truncate,
            i_key_index, i_insert_only);

    perform londiste.provider_create_trigger(i_queue_name, i_table_name, v_columns);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
