create or replace function londiste.find_seq_oid(tbl text)
returns oid as $$
-- londiste.find_seq_oid(1): looks a sequence up.
-- Parameters:
--      tbl         as londiste.split_fqname takes it
-- Returns:  its oid
-- Raises:   undefined_table "seq not found"
select londiste.find_rel_oid(tbl, 'S');
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
