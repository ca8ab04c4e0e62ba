create or replace function londiste.get_table_state(i_queue text)
returns setof londiste.subscriber_table as $$
-- londiste.get_table_state(1): whole rows of londiste.subscriber_table, for older programs.
-- Parameters:
--      i_queue         queue name
-- Returns:  rows in order of subscription
select *
  from londiste.subscriber_table
 where queue_name = i_queue
 order by nr;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
