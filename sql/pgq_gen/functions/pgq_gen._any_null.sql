create or replace function pgq_gen._any_null(i_row text, i_names text[], i_is_asked boolean[])
returns text as $$
-- pgq_gen._any_null(3): writes the condition under which one of some columns is null.
-- Parameters:
--      i_row                    the row: OLD
--      i_names, i_is_asked      columns, and which of them to look at
-- Returns:  SQL of type boolean; null if no column is to be looked at
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
    select string_agg(format('pg_catalog.num_nulls(%s) operator(pg_catalog.=) 1', pgq_gen._column(i_row, c.name)),
                      ' or ' order by c.place)
      from unnest(i_names, i_is_asked) with ordinality c (name, is_asked, place)
     where c.is_asked;
$$ language sql immutable set search_path = pg_catalog, pg_temp;
