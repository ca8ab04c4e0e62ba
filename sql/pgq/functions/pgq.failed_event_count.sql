create or replace function pgq.failed_event_count(x_queue_name text, x_consumer_name text)
returns integer as $$
-- pgq.failed_event_count(2): number of events that a consumer gave up on.
-- Parameters:
--      x_queue_name, x_consumer_name      consumer
-- Returns:  the number; 0 for an unknown consumer
-- Reads:    pgq.failed_queue, pgq.subscription
-- Used by:  administrators, monitoring
begin
    return (select count(*)
              from pgq.failed_queue
             where ev_owner = pgq._owner_id(x_queue_name, x_consumer_name));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
