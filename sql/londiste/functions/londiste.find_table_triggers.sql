create or replace function londiste.find_table_triggers(i_table_name text)
returns setof londiste.subscriber_pending_triggers as $$
-- londiste.find_table_triggers(1): the triggers users made on a table, as they are now.
-- Parameters:
--      i_table_name    an existing table
-- Returns:  rows as londiste.subscriber_pending_triggers stores them, ordered by name. trigger_def is one
--           statement with qualified names. Triggers that a partition inherits are left out: they cannot
--           be dropped.
-- Raises:   undefined_table "table not found"
select londiste.rel_fqname(t.oid),
       g.tgname::text,
       pg_get_triggerdef(g.oid),
       g.tgenabled::text,
       obj_description(g.oid, 'pg_trigger')
  from (select londiste.find_table_oid(i_table_name) as oid) t
  join pg_catalog.pg_trigger g on g.tgrelid = t.oid
 where not g.tgisinternal and g.tgparentid = 0
 order by g.tgname;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
