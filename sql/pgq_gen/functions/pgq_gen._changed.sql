create or replace function pgq_gen._changed(
    i_new text, i_old text, i_type oid, i_collation oid, i_by_text boolean)
returns text as $$
-- pgq_gen._changed(5): writes the condition under which an UPDATE changed a column.
-- Parameters:
--      as for pgq_gen._unchanged
-- Returns:  SQL of type boolean, never null
-- Used by:  pgq_gen._any_changed
    select format('((%s) is not true and not %s)',
                  pgq_gen._unchanged(i_new, i_old, i_type, i_collation, i_by_text),
                  pgq_gen._is_null(array[i_new, i_old], i_type));
$$ language sql stable set search_path = pg_catalog, pg_temp;
