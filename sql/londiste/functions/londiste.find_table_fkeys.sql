create or replace function londiste.find_table_fkeys(i_table_name text)
returns setof londiste.subscriber_pending_fkeys as $$
-- londiste.find_table_fkeys(1): foreign keys from and to a table, as they are now.
-- Parameters:
--      i_table_name    an existing table
-- Returns:  rows as londiste.subscriber_pending_fkeys stores them, ordered by the first three columns.
--           fkey_def is one statement with qualified names: the search_path of this function shows no
--           schema but pg_catalog. Keys that a partition inherits are left out: they cannot be dropped.
-- Raises:   undefined_table "table not found"
select londiste.rel_fqname(k.conrelid),
       londiste.rel_fqname(k.confrelid),
       k.conname::text,
       'alter table ' || case c.relkind when 'p' then '' else 'only ' end
           || londiste.quote_fqname(londiste.rel_fqname(k.conrelid))
           || ' add constraint ' || quote_ident(k.conname)
           || ' ' || pg_get_constraintdef(k.oid),
       obj_description(k.oid, 'pg_constraint')
  from (select londiste.find_table_oid(i_table_name) as oid) t
  join pg_catalog.pg_constraint k on t.oid in (k.conrelid, k.confrelid)
  join pg_catalog.pg_class c on c.oid = k.conrelid
 where k.contype = 'f' and k.conparentid = 0
 order by 1, 2, 3;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
