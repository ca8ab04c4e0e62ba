create or replace function pgq.failed_event_replay(i_queue_name text, i_consumer_name text)
returns integer as $$
-- pgq.failed_event_replay(2): puts all events that a consumer gave up on back into the queue, for it alone.
-- Each keeps its number of redeliveries, so where the queue has a limit pgq.nack gives up on it at once.
-- Parameters:
--      i_queue_name, i_consumer_name      consumer
-- Returns:  number of events
-- Raises:   "no such queue/consumer"; as pgq.insert_event_raw
-- Changes:  pgq.failed_queue, the queue's current table
-- Locks:    the rows of pgq.failed_queue: an event is replayed once, whoever else replays
-- Used by:  administrators
declare
    v_owner integer := pgq._owner_id(i_queue_name, i_consumer_name);
    v_event pgq.failed_queue;
    v_count integer := 0;
begin
    if v_owner is null then
        raise exception 'no such queue/consumer';
    end if;
    for v_event in
        select *
          from pgq.failed_queue
         where ev_owner = v_owner
         order by ev_id
           for update
    loop
        perform pgq.failed_event_retry(i_queue_name, i_consumer_name, v_event.ev_id);
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
