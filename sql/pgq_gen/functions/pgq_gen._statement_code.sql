create or replace function pgq_gen._statement_code(
    i_options record, i_columns record, i_queue pgq.queue, i_schema text, i_name text, i_is_split boolean)
returns text as $$
-- pgq_gen._statement_code(6): writes the statements that turn the rows of a statement into events.
-- Parameters:
--      i_options, i_columns      of pgq._capture_options and pgq._capture_columns, and backup_deletes: deletions
--                                get the old row, too
--      i_queue                   row of pgq.queue
--      i_schema, i_name          the table
--      i_is_split                a change of the key is a deletion and an insertion, as triggers of rows see
--                                a row that moves to another partition
-- Returns:  PL/pgSQL that reads the transition tables pgq_old and pgq_new, and expects the number of the
--           queue's table in v_table
-- Used by:  pgq_gen._function
declare
    -- The only expression that captures of statements may have is a literal here.
    v_extra1    text := coalesce((select quote_nullable(o.literal)
                                    from pgq._capture_overrides(i_options.expressions, i_columns.names, i_columns.known) o
                                   where o.place = 3),
                                 quote_literal(concat(i_schema, '.', i_name)));
    v_keyless   boolean := (true = any (i_columns.is_key)) is not true;
    v_where     text;
    v_insert    text;
    v_update    text;
    v_delete    text;
    v_moved     text;
    v_hidden    text;
    v_backup    text;
    v_type      text := 'z.type';
    v_old       text;
    v_new       text;
    v_keys      text;
    v_pairs     text;
    v_check     text := '';
    v_source    text;
    -- Whether an update is the new row, whatever changed.
    v_is_whole  boolean := i_options.format <> 'sql' and i_options.ignored is null and not i_options.backup
                           and not i_is_split and not v_keyless;
begin
    v_where := pgq_gen._where('o', i_columns.names, i_columns.types, i_columns.is_key, i_options.pinned);
    v_moved := pgq_gen._any_changed('n', 'o', i_columns.names, i_columns.types, i_columns.collations,
                                    i_columns.is_key, i_options.by_text);
    v_hidden := pgq_gen._any_changed('n', 'o', i_columns.names, i_columns.types, i_columns.collations,
                                     i_columns.is_hidden, i_options.by_text);
    if i_options.format = 'sql' and i_options.keys is not null then
        -- A condition without it would find other rows.
        v_where := format('case when %s then pgq_gen.refuse_null_key() else %s end',
                          pgq_gen._any_null('o', i_columns.names, i_columns.is_key), v_where);
    end if;
    if i_options.format = 'sql' then
        v_insert := pgq_gen._values('n', i_columns.names, i_columns.types, i_columns.is_hidden, i_options.pinned);
        v_delete := v_where;
        -- What was set; without a change the first key column to itself; null if only hidden columns changed.
        v_update := format(
            -- Columns may have collations of which none is that of all.
            'coalesce(nullif((%s) collate pg_catalog."C", ''''), %s) || '' where '' || %s',
            pgq_gen._assignments(
                'n', 'o', i_columns.names, i_columns.types, i_columns.collations,
                -- A key that may not change has not changed.
                pgq_gen._either(i_columns.is_hidden, case when i_options.key_updates then null else i_columns.is_key end),
                i_options.by_text, i_options.pinned),
            format(case when v_hidden is null then '%s' else 'case when not (' || replace(v_hidden, '%', '%%') || ') then %s end' end,
                   pgq_gen._where('o', i_columns.names, i_columns.types, pgq_gen._first(i_columns.is_key),
                                  i_options.pinned)),
            v_where);
    else
        v_insert := pgq_gen._row_data(i_options.format, 'n', i_columns.names, i_columns.types,
                                      i_columns.is_hidden, i_options.minimal, false);
        v_delete := pgq_gen._row_data(i_options.format, 'o', i_columns.names, i_columns.types,
                                      i_columns.is_hidden, i_options.minimal, false);
        v_update := v_insert;
        if i_options.ignored is null then
            v_hidden := null;
        elsif v_hidden is not null then
            v_update := format('case when %s or not (%s) then %s end',
                coalesce(pgq_gen._any_changed('n', 'o', i_columns.names, i_columns.types, i_columns.collations,
                                              pgq_gen._not(i_columns.is_hidden), i_options.by_text), 'false'),
                v_hidden, v_insert);
        end if;
    end if;
    if i_options.backup then
        v_backup := pgq_gen._row_data(case i_options.format when 'json' then 'json' else 'urlenc' end, 'o',
                                      i_columns.names, i_columns.types, i_columns.is_hidden, i_options.minimal,
                                      i_options.format = 'sql' and i_options.pinned);
    end if;

    -- Both tables hold the rows in the order of the changes. Joined by key they would lose it, or be
    -- joined in a plan made for the few rows of the first call; sorted by place they are merged.
    v_old := 'select row_number() over () as _pgq_row, x.* from pgq_old x';
    v_new := 'select row_number() over () as _pgq_row, x.* from pgq_new x';
    v_pairs := format('(%s) o join (%s) n on n._pgq_row = o._pgq_row', v_old, v_new);
    if v_is_whole then
        -- New rows are logged as they come; the pairs are only looked at for their keys.
        select string_agg(pgq_gen._column('x', c.name), ', ' order by c.place) into v_keys
          from unnest(i_columns.names, i_columns.is_key) with ordinality c (name, is_key, place)
         where c.is_key;
        v_check := format(
            E'        if exists (select from (%s) o join (%s) n on n._pgq_row = o._pgq_row where %s) then\n'
            '            raise exception ''primary key update not allowed'';\n'
            '        end if;\n',
            replace(v_old, 'x.*', v_keys), replace(v_new, 'x.*', v_keys), v_moved);
        v_type := pgq_gen._type('UPDATE', i_options, i_columns, i_schema, i_name);
        v_source := 'pgq_new n';
    elsif i_is_split then
        v_source := format(
            '(select e.type, e.data, e.backup from %s'
            ' cross join lateral (select 1, %s::text, %s, %s where not (%s)'
            ' union all select 2, %6$s, %7$s, %10$s where %5$s'
            ' union all select 3, %8$s, %9$s, null where %5$s) e (place, type, data, backup)'
            ' where e.data is not null order by o._pgq_row, e.place offset 0) z',
            v_pairs, pgq_gen._type('UPDATE', i_options, i_columns, i_schema, i_name), v_update, coalesce(v_backup, 'null'), v_moved,
            pgq_gen._type('DELETE', i_options, i_columns, i_schema, i_name), v_delete,
            pgq_gen._type('INSERT', i_options, i_columns, i_schema, i_name), v_insert,
            case when i_options.backup_deletes then v_backup else 'null' end);
    else
        if not i_options.key_updates then
            v_update := format('case when %s then pgq_gen.refuse_key_update() else %s end', v_moved, v_update);
        end if;
        v_type := pgq_gen._type('UPDATE', i_options, i_columns, i_schema, i_name);
        v_update := format('%s as data%s', v_update, ', ' || v_backup || ' as backup');
        if v_hidden is null then
            v_source := format('(select %s from %s order by o._pgq_row offset 0) z', v_update, v_pairs);
        else
            v_source := format('(select e.* from (select %s, o._pgq_row as place from %s offset 0) e'
                               ' where e.data is not null order by e.place offset 0) z', v_update, v_pairs);
        end if;
    end if;

    return concat(
        E'    if TG_OP operator(pg_catalog.=) ''INSERT'' then\n',
        pgq_gen._insert_code(i_queue,
            array[pgq_gen._type('INSERT', i_options, i_columns, i_schema, i_name), v_insert, v_extra1, null, null, null],
            'pgq_new n', null),
        E'    elsif TG_OP operator(pg_catalog.=) ''UPDATE'' then\n',
        case when v_keyless then
                 E'        if exists (select from pgq_old) then\n'
                 '            raise exception ''Update/Delete on table without pkey'';\n'
                 '        end if;\n'
             else v_check || pgq_gen._insert_code(i_queue,
                      array[v_type, case when v_is_whole then v_insert else 'z.data' end, v_extra1, case when i_options.backup then 'z.backup' end, null, null],
                      v_source, null) end,
        E'    else\n',
        case when v_keyless then
                 E'        if exists (select from pgq_old) then\n'
                 '            raise exception ''Update/Delete on table without pkey'';\n'
                 '        end if;\n'
             else pgq_gen._insert_code(i_queue,
                      array[pgq_gen._type('DELETE', i_options, i_columns, i_schema, i_name), v_delete, v_extra1,
                            case when i_options.backup_deletes then v_backup end, null, null],
                      'pgq_old o', null) end,
        E'    end if;\n');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
