create or replace function pgq_gen._assignments(
    i_new text, i_old text, i_names text[], i_types oid[], i_collations oid[], i_is_left boolean[],
    i_by_text boolean, i_pinned boolean)
returns text as $$
-- pgq_gen._assignments(8): writes the expression for what an UPDATE changed.
-- Parameters:
--      i_new, i_old    the rows: NEW and OLD
--      i_names, i_types, i_collations, i_is_left      columns in table order, and which of them to leave out
--      i_by_text       as for pgq_gen._unchanged
--      i_pinned        as for pgq_gen._text
-- Returns:  SQL of type text: a='1',b=NULL; an empty text if nothing changed
-- Used by:  pgq_gen._statement_code
declare
    v_parts text[] := '{}';
    v_new   text;
    v_old   text;
begin
    for i in 1 .. cardinality(i_names) loop
        continue when i_is_left[i];
        v_new := pgq_gen._column(i_new, i_names[i]);
        v_old := pgq_gen._column(i_old, i_names[i]);
        -- Most columns do not change: they are done with by the first condition.
        v_parts := v_parts || format(
            E'\n            case when %s then null when not %s then %L operator(pg_catalog.||) coalesce(%s, ''NULL'') end',
            pgq_gen._unchanged(v_new, v_old, i_types[i], i_collations[i], i_by_text),
            pgq_gen._is_null(array[v_new, v_old], i_types[i]),
            quote_ident(i_names[i]) || '=',
            pgq_gen._literal(v_new, i_types[i], i_pinned));
    end loop;
    return pgq_gen._concat(',', v_parts);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
