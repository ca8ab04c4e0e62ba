create or replace function pgq_gen._joined(i_separator text, i_values text[])
returns text as $$
-- pgq_gen._joined(2): writes the expression that joins values of any types; those that are null leave no trace.
-- Parameters:
--      i_separator      between two of them; empty: nothing
--      i_values         expressions; at least one
-- Returns:  SQL of type text, in the collation "C"
-- Used by:  pgq_gen._pairs_code, pgq_gen._values_code
declare
    -- A call takes 100 arguments at most.
    c_most      constant integer := 90;
    v_calls     text[] := '{}';
begin
    for v_first in 1 .. cardinality(i_values) by c_most loop
        v_calls := v_calls || pgq_gen._concat(i_separator, i_values[v_first:v_first + c_most - 1]);
    end loop;
    -- Columns may have collations of which none is that of all, or in which nothing can be looked for.
    return format('(%s) collate pg_catalog."C"',
                  array_to_string(v_calls, format(' operator(pg_catalog.||) %L operator(pg_catalog.||) ', i_separator)));
end;
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
