create or replace function pgq.failed_event_list(x_queue_name text, x_consumer_name text)
returns setof pgq.failed_queue as $$
-- pgq.failed_event_list(2): events that a consumer gave up on, ordered by ev_id.
-- Parameters:
--      x_queue_name, x_consumer_name      consumer
-- Returns:  rows of pgq.failed_queue; none for an unknown consumer
-- Reads:    pgq.failed_queue, pgq.subscription
-- Used by:  administrators
begin
    return query
        select *
          from pgq.failed_queue
         where ev_owner = pgq._owner_id(x_queue_name, x_consumer_name)
         order by ev_id;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.failed_event_list(x_queue_name text, x_consumer_name text, x_count integer, x_offset integer)
returns setof pgq.failed_queue as $$
-- pgq.failed_event_list(4): a page of the events that a consumer gave up on, ordered by ev_id.
-- Parameters:
--      x_queue_name, x_consumer_name      consumer
--      x_count       rows at most; 0: none
--      x_offset      rows to skip
-- Returns:  rows of pgq.failed_queue; none for an unknown consumer
-- Reads:    pgq.failed_queue, pgq.subscription
-- Used by:  administrators
begin
    return query
        select *
          from pgq.failed_queue
         where ev_owner = pgq._owner_id(x_queue_name, x_consumer_name)
         order by ev_id
         limit x_count
        offset x_offset;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
