create or replace function pgq._capture(
    i_format text, i_generated boolean, i_op text, i_when text, i_table oid, i_schema text, i_name text, i_args text[],
    i_row anyelement, i_old anyelement)
returns boolean as $$
-- pgq._capture(10): what the capture triggers do for a row.
-- Parameters:
--      i_format      sql, urlenc or json; kinds for sql with positional arguments
--      i_generated   whether the trigger was generated, which has more options
--      i_op, i_when, i_table, i_schema, i_name, i_args
--                    tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv
--      i_row         new row, or the deleted one
--      i_old         old row of an UPDATE, else i_row
-- Returns:  whether the trigger has to suppress the change
-- Raises:   as its parts; "Update/Delete on table without pkey"; "when= should not be NULL"; "when= query
--           result must be boolean, got=..."
-- Changes:  the queue
-- Used by:  pgq.sqltriga, pgq.logutriga, pgq.jsontriga, pgq.logtriga
declare
    -- Bytes of a row whose text is not taken apart as a whole.
    c_large     constant pg_catalog.int4 := 50000000;
    v_options   pg_catalog.record;
    v_table     pg_catalog.record;
    v_known     pg_catalog.text[];
    v_columns   pg_catalog.record;
    v_new       pg_catalog.text[];
    v_old       pg_catalog.text[];
    v_changes   pg_catalog.record;
    v_changed   boolean[];
    v_equal     boolean[];
    v_query     pg_catalog.text;
    v_json      pg_catalog.text[];
    v_fields    pg_catalog.text[];
    v_override  pg_catalog.record;
    v_value     pg_catalog.text;
    v_type      pg_catalog.oid;
    v_wanted    boolean := true;
    v_id        bigint;
begin
    v_options := pgq._capture_options(i_format, i_generated, i_when, i_args);
    if v_options.deny then
        raise exception 'Table ''%.%'' to queue ''%'': change not allowed (%)',
            i_schema, i_name, v_options.queue_name, i_op;
    end if;
    v_value := case when v_options.pinned then pgq._row_text(i_row) else pg_catalog.format('%s', i_row) end;
    v_new := case when pg_catalog.octet_length(v_value) operator(pg_catalog.>) c_large
                  then pgq._large_values(i_table, i_row, v_options.pinned)
                  else pgq._row_values(v_value) end;
    if pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.=) 'read committed' then
        v_table := pgq._table_columns(i_table);
    else
        v_table := pgq._row_columns(i_table, i_row, pg_catalog.cardinality(v_new));
    end if;
    v_known := pgq._known_names(i_table, i_format, i_args, v_table.names);
    if v_known is null and i_generated then
        -- Arguments were right when the trigger was generated.
        v_known := v_table.names;
    end if;
    select v_table.names, v_table.types, v_table.collations, v_table.key_names, v_known as known into v_table;
    v_columns := pgq._capture_columns(v_table, v_options.ignored, v_options.keys, v_options.kinds);
    if i_op operator(pg_catalog.<>) 'INSERT' and (true operator(pg_catalog.=) any (v_columns.is_key)) is not true then
        raise exception 'Update/Delete on table without pkey';
    end if;

    v_old := v_new;
    if i_op operator(pg_catalog.=) 'UPDATE' then
        v_value := case when v_options.pinned then pgq._row_text(i_old) else pg_catalog.format('%s', i_old) end;
        v_old := case when pg_catalog.octet_length(v_value) operator(pg_catalog.>) c_large
                      then pgq._large_values(i_table, i_old, v_options.pinned)
                      else pgq._row_values(v_value) end;
        v_changes := pgq._capture_changes(v_columns.names, v_columns.types, v_columns.collations,
                                          v_new, v_old, v_options.by_text, null);
        if v_changes.query is not null then
            execute v_changes.query into v_equal using i_row, i_old;
            v_changes := pgq._capture_changes(v_columns.names, v_columns.types, v_columns.collations,
                                              v_new, v_old, v_options.by_text, v_equal);
        end if;
        v_changed := v_changes.changed;
        if not pgq._capture_wanted(v_options.format, v_options.ignored is not null, v_options.key_updates,
                                   v_columns.is_key, v_columns.is_hidden, v_changed) then
            return v_options.skip;
        end if;
    end if;

    v_fields[1] := pgq._capture_type(v_options.format, i_op, i_schema, i_name, v_columns.key_names, v_options.keys);
    if v_options.format operator(pg_catalog.=) 'sql' then
        v_fields[2] := pgq._capture_sql(i_op, v_columns.names, v_columns.is_key, v_columns.is_hidden, v_changed,
                                        v_new, v_old);
    else
        if v_options.format operator(pg_catalog.=) 'json' then
            v_query := pgq._json_query(v_columns.names, v_columns.types);
            execute v_query into v_json using i_row;
        end if;
        v_fields[2] := pgq._capture_row(
            v_options.format, v_columns.names, v_columns.types, v_columns.is_hidden, v_new,
            v_json);
    end if;
    v_fields[3] := pg_catalog.concat(i_schema, '.', i_name);
    if v_options.backup and i_op operator(pg_catalog.=) 'UPDATE'
       or i_op operator(pg_catalog.=) 'DELETE' and 'backup=changes' operator(pg_catalog.=) any (i_args) then
        if v_options.format operator(pg_catalog.=) 'json' then
            execute v_query into v_json using i_old;
        end if;
        v_fields[4] := pgq._capture_row(
            v_options.format, v_columns.names, v_columns.types, v_columns.is_hidden, v_old,
            v_json);
    end if;

    if v_columns.fields is not null then
        for i in 1 .. pg_catalog.cardinality(v_columns.fields) loop
            if v_columns.fields[i] is not null then
                v_fields[v_columns.fields[i]] := v_new[i];
            end if;
        end loop;
    end if;
    if v_options.has_expressions then
        for v_override in
            select o.place, o.query, o.literal
              from pgq._capture_overrides(v_options.expressions, v_columns.names, v_known) o
        loop
            v_value := v_override.literal;
            v_type := 25;
            if v_override.query is not null then
                select e.value, e.type into v_value, v_type
                  from pgq._capture_evaluate(v_override.query, i_row) e;
            end if;
            if v_override.place operator(pg_catalog.<=) 6 then
                v_fields[v_override.place] := v_value;
            elsif v_type operator(pg_catalog.<>) 16::pg_catalog.oid then
                raise exception 'when= query result must be boolean, got=%', v_type;
            elsif v_value is null then
                raise exception 'when= should not be NULL';
            else
                v_wanted := v_value::pg_catalog.bool;
            end if;
        end loop;
    end if;

    if v_wanted then
        v_id := pgq.insert_event(v_options.queue_name, v_fields[1], v_fields[2],
                                 v_fields[3], v_fields[4], v_fields[5], v_fields[6]);
    end if;
    return v_options.skip;
end;
-- No pinned search_path: values and expressions are the writer's, so every name here is qualified.
$$ language plpgsql;
