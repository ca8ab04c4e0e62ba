create or replace function pgq_gen._concat(i_separator text, i_parts text[])
returns text as $$
-- pgq_gen._concat(2): writes the expression that joins texts; those that are null leave no trace.
-- Parameters:
--      i_separator      between two of them; empty: nothing
--      i_parts          expressions of type text
-- Returns:  SQL of type text, an empty text if all are null
-- Used by:  pgq_gen, where it writes code
declare
    v_parts text := array_to_string(i_parts, ', ');
begin
    return case
        when cardinality(i_parts) = 0 then ''''''
        -- A call takes 100 arguments at most.
        when cardinality(i_parts) > 95 then
            format('pg_catalog.array_to_string(array[%s], %L)', v_parts, i_separator)
        when i_separator = '' then format('pg_catalog.concat(%s)', v_parts)
        else format('pg_catalog.concat_ws(%L, %s)', i_separator, v_parts)
    end;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
