create or replace function pgq_gen._joined(i_values text[])
returns text as $$
-- pgq_gen._joined(1): writes the expression that joins values of any types; those that are null leave no trace.
-- Parameters:
--      i_values      expressions; at least one
-- Returns:  SQL of type text, in the collation "C"
-- Used by:  pgq_gen._pairs_code, pgq_gen._values_code
declare
    -- A call takes 100 arguments at most.
    c_most      constant integer := 90;
    v_calls     text[] := '{}';
begin
    for v_first in 1 .. cardinality(i_values) by c_most loop
        v_calls := v_calls
            || format('pg_catalog.concat(%s)', array_to_string(i_values[v_first:v_first + c_most - 1], ', '));
    end loop;
    -- Columns may have collations of which none is that of all, or in which nothing can be looked for.
    return format('(%s) collate pg_catalog."C"', array_to_string(v_calls, ' operator(pg_catalog.||) '));
end;
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
