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
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, manipulation not allowed';
    end if;
    if position('k' in i_col_types) = 0 then
        raise exception 'need key column'
            using errcode = 'invalid_table_definition',
                  detail = format('Table %s has no primary key.', i_table_name),
                  hint = 'Updates and deletes are replicated by key: add a primary key to the table.';
    end if;
    if position('.' in i_table_name) = 0 then
        raise exception 'need fully-qualified table name'
            using errcode = 'invalid_name';
    end if;
    perform 1 from pgq.queue where queue_name = i_queue_name;
    if not found then
        raise exception 'no such event queue: %', i_queue_name
            using errcode = 'undefined_object';
    end if;

    insert into londiste.provider_table (queue_name, table_name, trigger_name)
    values (i_queue_name, i_table_name, londiste.trigger_name(i_queue_name));

    perform londiste.provider_create_trigger(i_queue_name, i_table_name, i_col_types);
    return 1;
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
