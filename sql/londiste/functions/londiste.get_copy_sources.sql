create or replace function londiste.get_copy_sources(i_queue_name text)
returns setof londiste.copy_source as $$
-- londiste.get_copy_sources(1): tables that are copied from another node than the provider.
-- Parameters:
--      i_queue_name    subscribed queue
-- Returns:  rows of londiste.copy_source; their connect strings may hold passwords
-- Used by:  copy, replay
select *
  from londiste.copy_source s
 where s.queue_name = i_queue_name;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
