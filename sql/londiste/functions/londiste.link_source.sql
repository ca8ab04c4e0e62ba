create or replace function londiste.link_source(i_dst_name text)
returns text as $$
-- londiste.link_source(1): the subscribed queue that a queue of this database continues.
-- Parameters:
--      i_dst_name      queue of this database
-- Returns:  queue name, or null
select source
  from londiste.link
 where dest = i_dst_name;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
