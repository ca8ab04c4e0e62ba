create or replace function londiste.subscriber_get_table_list(i_queue_name text)
returns setof londiste.ret_subscriber_table as $$
-- londiste.subscriber_get_table_list(1): tables subscribed from a queue, and how far each is.
-- Parameters:
--      i_queue_name    queue name
-- Returns:  table, state, snapshot, trigger (unused) and whether to keep its rows, in order of subscription
select table_name, merge_state, snapshot, trigger_name, skip_truncate
  from londiste.subscriber_table
 where queue_name = i_queue_name
 order by nr;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
