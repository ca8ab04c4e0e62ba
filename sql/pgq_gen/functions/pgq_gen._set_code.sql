create or replace function pgq_gen._set_code(
    i_names text[], i_types oid[], i_collations oid[], i_is_left boolean[], i_by_text boolean, i_pinned boolean)
returns text as $$
-- pgq_gen._set_code(6): writes the statements that tell what an UPDATE changed in one row. Of a column that did not
-- change only the comparison is prepared: in a transaction of one row an expression over all columns costs more
-- than all the rest.
-- Parameters:
--      as for pgq_gen._assignments
-- Returns:  PL/pgSQL that adds to v_data: ,a='1',b=NULL
-- Used by:  pgq_gen._row_code
declare
    v_code  text := '';
    v_new   text;
    v_old   text;
    v_piece text[];
begin
    for i in 1 .. cardinality(i_names) loop
        continue when i_is_left[i];
        v_new := pgq_gen._column('NEW', i_names[i]);
        v_old := pgq_gen._column('OLD', i_names[i]);
        v_piece := pgq_gen._quoted(v_new, i_types[i], i_pinned);
        v_code := v_code || format(
            E'        if %s then\n'
            '        elsif not %s then\n'
            '%s'
            '            v_data := pg_catalog.format(%L, v_data, %s);\n'
            '        end if;\n',
            pgq_gen._unchanged(v_new, v_old, i_types[i], i_collations[i], i_by_text),
            pgq_gen._is_null(array[v_new, v_old], i_types[i]),
            pgq_gen._plain_code(v_piece[2], true),
            format('%%s,%s=%%%s', replace(quote_ident(i_names[i]), '%', '%%'), v_piece[1]), v_piece[2]);
    end loop;
    return v_code;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
