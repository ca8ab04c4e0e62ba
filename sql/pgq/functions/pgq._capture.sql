create or replace function pgq._capture(
    i_format text, i_op text, i_when text, i_table oid, i_schema text, i_name text, i_args text[],
    i_row anyelement, i_old anyelement)
returns boolean as $$
-- pgq._capture(9): what the capture triggers do for a row.
-- Parameters:
--      i_format      sql, urlenc or json; kinds for sql with positional arguments
--      i_op, i_when, i_table, i_schema, i_name, i_args
--                    tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv
--      i_row         new row, or the deleted one
--      i_old         old row of an UPDATE, else i_row
-- Returns:  whether the trigger has to suppress the change
-- Raises:   as its parts; "SKIP does not work in AFTER trigger."; "Table '...' to queue '...': change
--           not allowed (...)"; "when= should not be NULL"; "when= query result must be boolean, got=..."
-- Changes:  the queue
-- Used by:  pgq.sqltriga, pgq.logutriga, pgq.jsontriga, pgq.logtriga
declare
    v_options   record;
    v_columns   record;
    v_new       text[];
    v_old       text[];
    v_equal     boolean[];
    v_change    record;
    v_fields    text[];
    v_field     record;
    v_value     text;
    v_type      oid;
    v_wanted    boolean := true;
    v_id        bigint;
begin
    select * into v_options from pgq._capture_options(i_format, i_op, i_when, i_schema, i_name, i_args);
    select * into v_columns
      from pgq._capture_columns(v_options.format, i_op, i_table,
                                v_options.ignored, v_options.keys, v_options.kinds);

    if v_options.pinned then
        select p.new_values, p.old_values, p.equal
          into v_new, v_old, v_equal
          from pgq._capture_values_pinned(v_columns.query, i_row, i_old) p;
    else
        execute v_columns.query into v_new, v_old, v_equal using i_row, i_old;
    end if;

    select * into v_change
      from pgq._capture_data(
               v_options.format, i_op, v_columns.names, v_columns.is_key, v_columns.is_hidden,
               v_new, v_old, v_equal,
               v_options.ignored is not null, v_options.key_updates, v_options.by_text, v_options.backup);
    if not v_change.wanted then
        return v_options.skip;
    end if;

    v_fields := array[
        pgq._capture_type(v_options.format, i_op, i_schema, i_name, v_columns.key_names, v_options.keys),
        v_change.data,
        pg_catalog.concat(i_schema, '.', i_name),
        v_change.backup,
        null,
        null];
    for v_field in
        select f.field, f.value
          from rows from (pg_catalog.unnest(v_columns.fields), pg_catalog.unnest(v_new)) f (field, value)
         where f.field is not null
    loop
        v_fields[v_field.field] := v_field.value;
    end loop;

    if v_options.has_expressions then
        for v_field in
            select e.place, e.query, e.literal
              from pgq._capture_expressions(v_options.expressions, v_columns.names) e
        loop
            if v_field.query is null then
                v_value := v_field.literal;
            else
                select e.value, e.type into v_value, v_type
                  from pgq._capture_evaluate(v_field.query, i_row) e;
            end if;
            if v_field.place operator(pg_catalog.<=) 6 then
                v_fields[v_field.place] := v_value;
            elsif v_field.query is null or v_type operator(pg_catalog.<>) 16::pg_catalog.oid then
                raise exception 'when= query result must be boolean, got=%', coalesce(v_type, 25::pg_catalog.oid);
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
