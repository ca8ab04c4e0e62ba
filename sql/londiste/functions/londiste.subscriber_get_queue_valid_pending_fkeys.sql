create or replace function londiste.subscriber_get_queue_valid_pending_fkeys(i_queue_name text)
returns setof londiste.subscriber_pending_fkeys as $$
-- londiste.subscriber_get_queue_valid_pending_fkeys(1): dropped foreign keys that can come back: both tables
--           are subscribed from the queue, and stand where the provider stood at the last batch.
-- Parameters:
--      i_queue_name    queue name
-- Returns:  rows of londiste.subscriber_pending_fkeys, ordered by table and name
select f.*
  from londiste.subscriber_pending_fkeys f
  join londiste.subscriber_table s on s.table_name = f.from_table
  join londiste.subscriber_table d on d.table_name = f.to_table
 where s.queue_name = i_queue_name and s.merge_state = 'ok' and s.snapshot is null
   and d.queue_name = i_queue_name and d.merge_state = 'ok' and d.snapshot is null
 order by f.from_table, f.fkey_name;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
