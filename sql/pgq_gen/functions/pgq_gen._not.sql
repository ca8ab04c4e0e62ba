create or replace function pgq_gen._not(i_a boolean[])
returns boolean[] as $$
-- pgq_gen._not(1): which columns are not in a set.
-- Parameters:
--      i_a      a value per column
-- Returns:  a value per column
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
    select array(select not a from unnest(i_a) with ordinality x (a, place) order by place);
$$ language sql immutable set search_path = pg_catalog, pg_temp;
