create or replace function pgq_gen._where_code(
    i_before text, i_names text[], i_types oid[], i_is_key boolean[], i_pinned boolean)
returns text as $$
-- pgq_gen._where_code(5): writes the expression for the condition that finds one old row by its key.
-- Parameters:
--      i_before      expression of what an UPDATE sets, to come before it; null: nothing
--      i_names, i_types, i_is_key, i_pinned       as for pgq_gen._where
-- Returns:  SQL of type text: a='1' and b='2'; or b='3' where a='1' and b='2'
-- Used by:  pgq_gen._row_code
declare
    v_format    text := case when i_before is null then '' else '%s where ' end;
    v_arguments text[] := array_remove(array[i_before], null);
    v_and       text := '';
    v_piece     text[];
begin
    -- A call takes 100 arguments at most; a table without a key has no updates to write.
    if coalesce(cardinality(array_positions(i_is_key, true)), 0) not between 1 and 90 then
        return pgq_gen._concat(' where ', array_remove(
            array[i_before, pgq_gen._where('OLD', i_names, i_types, i_is_key, i_pinned)], null));
    end if;
    for i in 1 .. cardinality(i_names) loop
        if i_is_key[i] then
            v_piece := pgq_gen._quoted(pgq_gen._column('OLD', i_names[i]), i_types[i], i_pinned);
            v_format := concat(v_format, v_and, replace(quote_ident(i_names[i]), '%', '%%'), '=%', v_piece[1]);
            v_arguments := v_arguments || v_piece[2];
            v_and := ' and ';
        end if;
    end loop;
    return format('pg_catalog.format(%L, %s)', v_format, array_to_string(v_arguments, ', '));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
