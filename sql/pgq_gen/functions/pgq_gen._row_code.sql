create or replace function pgq_gen._row_code(
    i_options record, i_columns record, i_schema text, i_name text, i_skip text,
    i_queue pgq.queue, i_fields text[], i_slow text[])
returns text as $$
-- pgq_gen._row_code(8): writes the statements that turn a changed row into the fields of an event, or into an event.
-- Parameters:
--      i_options      of pgq._capture_options; function, that of the capture; backup_deletes: deletions get
--                     the old row, too
--      i_columns      of pgq._capture_columns
--      i_schema, i_name      the table; null if a partition's own name is to be used
--      i_skip         statement that leaves without an event
--      i_queue, i_fields      as for pgq_gen._insert_code, which inserts the event; its type takes the place of
--                     the first field. Null: nothing is inserted
--      i_slow         as for pgq_gen._insert_code, for an update, an insertion and a deletion
-- Returns:  PL/pgSQL that sets v_data, and v_extra2 with backup, from TG_OP, NEW and OLD, and inserts or sets v_type
-- Used by:  pgq_gen._function
declare
    v_is_sql    boolean := i_options.format = 'sql';
    v_keyless   boolean := (true = any (i_columns.is_key)) is not true;
    v_same      text;
    v_hidden    text;
    v_data      text;
    v_where     text;
    v_key_check text := '';
    v_insert    text;
    v_update    text;
    v_delete    text;
    v_backup    text;
    v_ends      text[];
begin
    if v_keyless then
        v_key_check := E'        raise exception ''Update/Delete on table without pkey'';\n';
        v_where := '''''';
    elsif v_is_sql then
        v_where := pgq_gen._where_code(null, i_columns.names, i_columns.types, i_columns.is_key, i_options.pinned);
        if i_options.keys is not null or i_options.kinds is not null then
            v_key_check := format(E'        if %s then\n'
                                  '            raise exception ''logtriga: Unexpected NULL key value'';\n'
                                  '        end if;\n', pgq_gen._any_null('OLD', i_columns.names, i_columns.is_key));
        end if;
    end if;

    if v_is_sql then
        v_insert := pgq_gen._values_code(
            'NEW', i_columns.names, i_columns.types, i_columns.is_hidden,
            -- A primary key is never null. Before a row that SKIP keeps out nobody looks.
            case when i_options.keys is null and i_options.kinds is null and not i_options.skip then i_columns.is_key end,
            i_options.pinned);
        v_insert := concat(pgq_gen._plain_code(v_insert, false), v_insert);
        v_delete := format(E'%s        v_data := %s;\n', pgq_gen._plain_code(v_where, false), v_where);
    else
        v_insert := pgq_gen._row_data_code(i_options.function, i_options.format, 'NEW', i_columns.names,
                                           i_columns.types, i_columns.is_hidden, i_options.minimal);
        v_delete := pgq_gen._row_data_code(i_options.function, i_options.format, 'OLD', i_columns.names,
                                           i_columns.types, i_columns.is_hidden, i_options.minimal);
    end if;

    v_update := '';
    if not i_options.key_updates and not v_keyless then
        select string_agg(pgq_gen._unchanged(pgq_gen._column('NEW', c.name), pgq_gen._column('OLD', c.name),
                                             c.type, c.collation_id, i_options.by_text),
                          ' and ' order by c.place)
          into v_same
          from unnest(i_columns.names, i_columns.types, i_columns.collations, i_columns.is_key)
               with ordinality c (name, type, collation_id, is_key, place)
         where c.is_key;
        v_update := format(
            E'        if %s then\n'
            '        elsif %s then\n'
            '            raise exception ''primary key update not allowed'';\n'
            '        end if;\n',
            v_same,
            pgq_gen._any_changed('NEW', 'OLD', i_columns.names, i_columns.types, i_columns.collations,
                                 i_columns.is_key, i_options.by_text));
    end if;
    v_hidden := pgq_gen._any_changed('NEW', 'OLD', i_columns.names, i_columns.types, i_columns.collations,
                                     i_columns.is_hidden, i_options.by_text);
    if v_is_sql then
        v_update := v_update
            || pgq_gen._set_code(
                   i_columns.names, i_columns.types, i_columns.collations,
                   -- A key that may not change has not changed.
                   pgq_gen._either(i_columns.is_hidden,
                                   case when i_options.key_updates then null else i_columns.is_key end),
                   i_options.by_text, i_options.pinned)
            || coalesce(pgq_gen._plain_code(v_where, false), '') || E'        if v_data is null then\n';
        if v_hidden is not null then
            v_update := v_update || format(E'            if %s then\n                %s\n            end if;\n',
                                           v_hidden, i_skip);
        end if;
        -- Without a change the first key column is set to itself.
        v_update := v_update || format(
            E'            v_data := pg_catalog.concat('','', %s);\n        end if;\n'
            '        v_data := %s;\n',
            pgq_gen._where_code(null, i_columns.names, i_columns.types, pgq_gen._first(i_columns.is_key),
                                i_options.pinned),
            pgq_gen._where_code('pg_catalog.substr(v_data, 2)', i_columns.names, i_columns.types, i_columns.is_key,
                                i_options.pinned));
    else
        if i_options.ignored is not null and v_hidden is not null then
            v_data := pgq_gen._any_changed(
                'NEW', 'OLD', i_columns.names, i_columns.types, i_columns.collations,
                pgq_gen._not(i_columns.is_hidden), i_options.by_text);
            v_update := v_update || format(
                E'        if %s(%s) then\n            %s\n        end if;\n',
                'not (' || coalesce(v_data, 'false') || ') and ', v_hidden, i_skip);
        end if;
        v_update := v_update || v_insert;
    end if;
    if i_options.backup then
        v_backup := format(
            E'        v_extra2 := %s;\n',
            pgq_gen._row_data(case when v_is_sql then 'urlenc' else i_options.format end, 'OLD', i_columns.names,
                              i_columns.types, i_columns.is_hidden, i_options.minimal,
                              v_is_sql and i_options.pinned));
        v_backup := concat(pgq_gen._plain_code(v_backup, false), v_backup);
        v_update := v_update || v_backup;
        if i_options.backup_deletes then
            v_delete := v_delete || v_backup;
        end if;
    end if;

    -- To set v_type would cost each row more than it costs the function to have an INSERT for each type.
    select array_agg(case when i_fields is null then format(E'        v_type := %s;\n', o.type)
                          else pgq_gen._insert_code(i_queue, o.type || i_fields[2:], null, i_slow[o.place]) end
                     order by o.place)
      into v_ends
      from (select c.place, pgq_gen._type(c.op, i_options, i_columns, i_schema, i_name) as type
              from unnest('{UPDATE,INSERT,DELETE}'::text[]) with ordinality c (op, place)) o;
    -- Updates first: they have the most conditions besides.
    return concat(
        E'    if TG_OP operator(pg_catalog.=) ''UPDATE'' then\n',
        v_key_check, v_update, v_ends[1],
        E'    elsif TG_OP operator(pg_catalog.=) ''INSERT'' then\n',
        v_insert, v_ends[2],
        E'    else\n',
        v_key_check, v_delete, v_ends[3],
        E'    end if;\n');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
