create or replace function pgq_gen._changed(
    i_new text, i_old text, i_type oid, i_collation oid, i_by_text boolean)
returns text as $$
-- pgq_gen._changed(5): writes the condition under which an UPDATE changed a column.
-- Parameters:
--      as for pgq_gen._unchanged
-- Returns:  SQL of type boolean, never null
-- Used by:  pgq_gen._sql_data, pgq_gen._update
begin
    return format('((%s) is not true and %s)',
                  pgq_gen._unchanged(i_new, i_old, i_type, i_collation, i_by_text),
                  -- A row whose fields are all null is not null, but "is null".
                  case when (select t.typtype = 'c' or t.typbasetype <> 0 from pg_type t where t.oid = i_type)
                       then format('pg_catalog.num_nulls(%s, %s) operator(pg_catalog.<) 2', i_new, i_old)
                       else format('(%s is not null or %s is not null)', i_new, i_old) end);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
