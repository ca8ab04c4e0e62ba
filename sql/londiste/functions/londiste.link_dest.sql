create or replace function londiste.link_dest(i_source_name text)
returns text as $$
-- londiste.link_dest(1): the queue of this database that continues a subscribed queue.
-- Parameters:
--      i_source_name   subscribed queue
-- Returns:  queue name, or null
select dest
  from londiste.link
 where source = i_source_name;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
