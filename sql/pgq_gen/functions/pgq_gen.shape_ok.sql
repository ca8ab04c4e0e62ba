create or replace function pgq_gen.shape_ok(i_table oid, i_shape text)
returns boolean as $$
-- pgq_gen.shape_ok(2): whether a table still has the shape that a capture was generated for.
-- Parameters:
--      i_table      table
--      i_shape      its pgq_gen.shape at that time
-- Returns:  false if it changed, or is not there, as in a restored database
-- Reads:    the definition of the table
-- Used by:  generated captures
begin
    return coalesce(pgq_gen.shape(i_table) = i_shape, false);
end;
-- Called immutable on purpose: the planner asks once for each plan and keeps the answer. The plans that
-- ask mention the table, so each change of its definition makes every session plan anew.
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
