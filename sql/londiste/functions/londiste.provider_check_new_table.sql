create or replace function londiste.provider_check_new_table(
    i_queue_name text, i_table_name text, i_col_types text, i_insert_only boolean)
returns void as $$
-- londiste.provider_check_new_table(4): refuses what cannot be registered.
-- Parameters:
--      i_queue_name    queue that gets the events
--      i_table_name    schema.table, raw
--      i_col_types     as londiste.find_column_types gives them
--      i_insert_only   whether the table does without a key
-- Raises:   "Linked queue, manipulation not allowed"; "need key column"; "need fully-qualified table name";
--           undefined_object "no such event queue"
-- Used by:  londiste.provider_add_table
begin
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, manipulation not allowed'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    if position('k' in i_col_types) = 0 and i_insert_only is not true then
        raise exception 'need key column'
            using errcode = 'invalid_table_definition',
                  detail = format('Table %s has no primary key.', i_table_name),
                  hint = 'Updates and deletes are replicated by key: add a primary key to the table, name '
                         'a unique index with --key-index, or capture inserts alone with --insert-only.';
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
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
