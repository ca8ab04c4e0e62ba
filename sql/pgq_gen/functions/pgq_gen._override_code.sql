create or replace function pgq_gen._override_code(i_options record, i_columns record, i_skip text)
returns text as $$
-- pgq_gen._override_code(3): writes the statements that replace fields of an event by magic columns and
-- expressions, and that decide by when= whether there is one.
-- Parameters:
--      i_options, i_columns, i_skip      as for pgq_gen._row_code
-- Returns:  PL/pgSQL, empty if there is nothing to replace
-- Used by:  pgq_gen._function
declare
    c_fields    constant text[] := '{v_type,v_data,v_extra1,v_extra2,v_extra3,v_extra4,v_value}';
    c_assign    constant text := E'        %s := %s;\n';
    v_override  record;
    v_new       text := '';
    v_old       text := '';
    v_code      text := '';
begin
    for i in 1 .. coalesce(cardinality(i_columns.fields), 0) loop
        if i_columns.fields[i] is not null then
            v_new := v_new || format(c_assign, c_fields[i_columns.fields[i]],
                pgq_gen._text(pgq_gen._column('NEW', i_columns.names[i]), i_columns.types[i], false));
            v_old := v_old || format(c_assign, c_fields[i_columns.fields[i]],
                pgq_gen._text(pgq_gen._column('OLD', i_columns.names[i]), i_columns.types[i], false));
        end if;
    end loop;
    if v_new <> '' then
        v_code := format(E'    if TG_OP operator(pg_catalog.=) ''DELETE'' then\n%s    else\n%s    end if;\n',
                         v_old, v_new);
    end if;

    for v_override in
        select o.place, o.query, o.literal from pgq._capture_overrides(i_options.expressions, i_columns.names, i_columns.known) o
    loop
        if v_override.query is null and v_override.place <= 6 then
            v_code := v_code || format(E'    %s := %L;\n', c_fields[v_override.place], v_override.literal);
            continue;
        end if;
        v_code := v_code || format(
            E'    if TG_OP operator(pg_catalog.=) ''DELETE'' then\n'
            '        select e.value, e.type into %1$s, v_kind from pgq._capture_evaluate(%2$L, OLD) e;\n'
            '    else\n'
            '        select e.value, e.type into %1$s, v_kind from pgq._capture_evaluate(%2$L, NEW) e;\n'
            '    end if;\n',
            c_fields[v_override.place],
            coalesce(v_override.query,
                     pgq._capture_expression(quote_literal(v_override.literal), i_columns.names, null)));
        if v_override.place = 7 then
            v_code := v_code || format(
                E'    if v_kind operator(pg_catalog.<>) 16::pg_catalog.oid then\n'
                '        raise exception ''when= query result must be boolean, got=%%'', v_kind;\n'
                '    elsif v_value is null then\n'
                '        raise exception ''when= should not be NULL'';\n'
                '    elsif not v_value::pg_catalog.bool then\n'
                '        %s\n'
                '    end if;\n', i_skip);
        end if;
    end loop;
    return v_code;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
