create or replace function pgq._column_name(i_table oid, i_number integer)
returns text as $$
-- pgq._column_name(2): name of a column as it is now, even in a transaction with an older snapshot.
-- Parameters:
--      i_table      table
--      i_number     number of the column
-- Returns:  its name; null if there is no such column or it was dropped
-- Reads:    the definition of the table, through the caches of the server
-- Used by:  pgq._row_columns, pgq._known_names
begin
    -- The number of a column that was dropped is no column.
    if has_column_privilege(i_table, i_number::smallint, 'select') is null then
        return null;
    end if;
    return (pg_identify_object_as_address('pg_class'::regclass, i_table, i_number)).object_names[3];
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
