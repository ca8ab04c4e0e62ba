create or replace function londiste.hold_last_tick(i_consumer text)
returns bigint as $$
-- londiste.hold_last_tick(1): the last tick whose events are committed here; until the transaction ends, no
--           further batch of the consumer can be committed.
-- Parameters:
--      i_consumer      consumer name
-- Returns:  its tick id, or null if nothing is known; then nothing is held
-- Locks:    the row of londiste.completed
select last_tick_id
  from londiste.completed
 where consumer_id = i_consumer
   for update;
$$ language sql strict volatile security definer set search_path = pg_catalog, pg_temp;
