create or replace function pgq._count_events(i_queue_name text, i_queue_id integer, i_limit integer, i_events bigint)
returns void as $$
-- pgq._count_events(4): counts the events that a transaction inserts into a queue with a limit.
-- Parameters:
--      i_queue_name, i_queue_id      an existing queue
--      i_limit                       its queue_per_tx_limit
--      i_events                      number of events to come
-- Returns:  nothing
-- Raises:   "Queue '...' allows max ... events from one TX"
-- Changes:  a setting of the transaction, which forgets what a savepoint takes back
-- Used by:  pgq.insert_event_raw, pgq.insert_events
declare
    v_counter   text := 'pgq.txcount_' || i_queue_id;
    v_count     bigint;
begin
    -- A setting that was local to an earlier transaction reads as ''.
    v_count := coalesce(nullif(current_setting(v_counter, true), '')::bigint, 0) + i_events;
    if v_count > i_limit then
        raise exception 'Queue ''%'' allows max % events from one TX', i_queue_name, i_limit;
    end if;
    perform set_config(v_counter, v_count::text, true);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
