create or replace function pgq_gen._either(i_a boolean[], i_b boolean[])
returns boolean[] as $$
-- pgq_gen._either(2): which columns are in one of two sets.
-- Parameters:
--      i_a, i_b      a value per column; null: none
-- Returns:  a value per column of i_a
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
    select array(select a or coalesce(i_b[place], false)
                   from unnest(i_a) with ordinality x (a, place)
                  order by place);
$$ language sql immutable set search_path = pg_catalog, pg_temp;
