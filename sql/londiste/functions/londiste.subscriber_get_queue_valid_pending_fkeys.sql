create or replace function londiste.subscriber_get_queue_valid_pending_fkeys(i_queue_name text)
returns setof londiste.subscriber_pending_fkeys as $$
-- londiste.subscriber_get_queue_valid_pending_fkeys(1): dropped foreign keys that can come back: one table is
--           subscribed from the queue; so is the other, or it is a table that nobody subscribes; and those that
--           are subscribed stand where the provider stood at the last batch.
-- Parameters:
--      i_queue_name    queue name
-- Returns:  rows of londiste.subscriber_pending_fkeys, ordered by table and name
select f.*
  from londiste.subscriber_pending_fkeys f
 where exists (
        select from londiste.subscriber_table t
         where t.table_name in (f.from_table, f.to_table) and t.queue_name = i_queue_name)
   and not exists (
        select from londiste.subscriber_table t
         where t.table_name in (f.from_table, f.to_table)
           and (t.queue_name <> i_queue_name or t.merge_state is distinct from 'ok' or t.snapshot is not null))
   and to_regclass(londiste.quote_fqname(f.from_table)) is not null
   and to_regclass(londiste.quote_fqname(f.to_table)) is not null
 order by f.from_table, f.fkey_name;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
