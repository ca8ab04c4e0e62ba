create or replace function londiste.find_table_oid(tbl text)
returns oid as $$
-- londiste.find_table_oid(1): looks a table up, plain or partitioned.
-- Parameters:
--      tbl         as londiste.split_fqname takes it
-- Returns:  its oid
-- Raises:   undefined_table "table not found"
select londiste.find_rel_oid(tbl, 'r');
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
