create or replace function londiste.get_last_tick(i_consumer text)
returns bigint as $$
-- londiste.get_last_tick(1): the last tick whose events are committed here.
-- Parameters:
--      i_consumer      consumer name
-- Returns:  its tick id, or null if nothing is known
select last_tick_id
  from londiste.completed
 where consumer_id = i_consumer;
$$ language sql strict stable security definer set search_path = pg_catalog, pg_temp;
