create or replace function pgq._known_columns(
    i_table oid, i_format text, i_args text[],
    out names text[], out types oid[], out collations oid[], out key_names text[], out known text[])
as $$
-- pgq._known_columns(3): columns of a table, and how the arguments of a capture call them.
-- Parameters:
--      i_table, i_format, i_args      as for pgq._known_names
-- Returns:  as pgq._table_columns; known, of pgq._known_names
-- Reads:    the definition of the table, pgq.capture
-- Used by:  pgq_gen._function, pgq_gen._write_row_type, pgq_gen._write, pgq._capture_truncate
    select t.*, pgq._known_names(i_table, i_format, i_args, t.names) from pgq._table_columns(i_table) t;
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
