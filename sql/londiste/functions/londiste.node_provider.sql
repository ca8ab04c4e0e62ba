create or replace function londiste.node_provider(i_queue_name text)
returns text as $$
-- londiste.node_provider(1): where this subscriber reads its events, if that was changed.
-- Parameters:
--      i_queue_name    subscribed queue
-- Returns:  connect string, which may hold a password; null: as the configuration says
select n.provider_dsn
  from londiste.node_info n
 where n.queue_name = i_queue_name;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
