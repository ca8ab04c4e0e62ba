create or replace function pgq_gen._row_type(i_function text, i_fields text)
returns text as $$
-- pgq_gen._row_type(2): name of the type of the rows that a capture makes of those of its table.
-- Parameters:
--      i_function      function of the capture
--      i_fields        of pgq_gen._json_fields
-- Returns:  the name, in pgq_gen; other fields have another one: a session that still runs the function as it was finds
--           the type as it was
-- Used by:  pgq_gen._json_row, pgq_gen._write_row_type
    select concat(i_function, '_', left(md5(i_fields), 8));
$$ language sql immutable set search_path = pg_catalog, pg_temp;
