create or replace function pgq_gen._column(i_row text, i_name text)
returns text as $$
-- pgq_gen._column(2): writes the expression for a column of a row.
-- Parameters:
--      i_row       the row: NEW
--      i_name      raw name of the column
-- Returns:  SQL: NEW."a". Always quoted: PL/pgSQL has keywords of its own
-- Used by:  pgq_gen, where it writes code
    select concat(i_row, '."', replace(i_name, '"', '""'), '"');
$$ language sql immutable set search_path = pg_catalog, pg_temp;
