create or replace function pgq_gen._first(i_a boolean[])
returns boolean[] as $$
-- pgq_gen._first(1): the first column of a set.
-- Parameters:
--      i_a      a value per column
-- Returns:  a value per column
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
    select array(select place = array_position(i_a, true)
                   from unnest(i_a) with ordinality x (a, place)
                  order by place);
$$ language sql immutable set search_path = pg_catalog, pg_temp;
