create or replace function pgq_gen._where(i_row text, i_names text[], i_types oid[], i_is_key boolean[], i_pinned boolean)
returns text as $$
-- pgq_gen._where(5): writes the expression for the condition that finds a row by its key.
-- Parameters:
--      i_row                            old or deleted row: OLD
--      i_names, i_types, i_is_key       columns in table order
--      i_pinned                         as for pgq_gen._text
-- Returns:  SQL of type text: a='1' and b='2'; no key value is null where it is used
-- Used by:  pgq_gen._where_code, pgq_gen._statement_code
declare
    v_parts text[] := '{}';
begin
    for i in 1 .. cardinality(i_names) loop
        if i_is_key[i] then
            v_parts := v_parts || format('%L operator(pg_catalog.||) %s', quote_ident(i_names[i]) || '=',
                                         pgq_gen._literal(pgq_gen._column(i_row, i_names[i]), i_types[i], i_pinned));
        end if;
    end loop;
    return case when cardinality(v_parts) = 1 then format('(%s)', v_parts[1])
                else pgq_gen._concat(' and ', v_parts) end;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
