create or replace function londiste.provider_get_table_list(i_queue text)
returns setof londiste.ret_provider_table_list as $$
-- londiste.provider_get_table_list(1): tables registered for a queue.
-- Parameters:
--      i_queue         queue name
-- Returns:  name and trigger of each, in order of registration
select table_name, trigger_name
  from londiste.provider_table
 where queue_name = i_queue
 order by nr;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
