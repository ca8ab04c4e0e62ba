create or replace function pgq_gen._is_null(i_values text[], i_type oid)
returns text as $$
-- pgq_gen._is_null(2): writes the condition under which a column is null.
-- Parameters:
--      i_values      the column in one or two rows: NEW."a", OLD."a"
--      i_type        its type
-- Returns:  SQL of type boolean, never null: true if it is null in all of them
-- Used by:  pgq_gen._changed, pgq_gen._assignments, pgq_gen._set_code, pgq_gen._values_code, pgq_gen._filling
    select case
        -- A row whose fields are all null is not null, but "is null".
        when t.typtype = 'c' or t.typbasetype <> 0 then
            format('(pg_catalog.num_nulls(%s) operator(pg_catalog.=) %s)',
                   array_to_string(i_values, ', '), cardinality(i_values))
        else format('(%s is null)', array_to_string(i_values, ' is null and '))
    end
      from pg_type t
     where t.oid = i_type;
$$ language sql stable set search_path = pg_catalog, pg_temp;
