create or replace function londiste.rel_fqname(i_oid oid)
returns text as $$
-- londiste.rel_fqname(1): the raw name of a relation.
-- Parameters:
--      i_oid       a relation
-- Returns:  as londiste.make_fqname; null if there is no such relation
select londiste.make_fqname(n.nspname::text, c.relname::text)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.oid = i_oid;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
