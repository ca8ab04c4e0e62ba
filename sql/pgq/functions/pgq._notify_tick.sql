create or replace function pgq._notify_tick(i_queue_name text, i_tick_id bigint)
returns void as $$
-- pgq._notify_tick(2): tells who listens on the channel pgq_tick of a new tick, when the transaction
-- commits. A hint that may get lost: consumers poll all the same. A transaction that notifies cannot be
-- prepared for a commit in two phases.
-- Parameters:
--      i_queue_name      queue
--      i_tick_id         its new tick
-- Returns:  nothing; the payload is "ID NAME", the name as it is, to the end. A name of some 8000 bytes
--           does not fit, and is left out with the blank before it: a bare "ID" may be any queue's
-- Used by:  pgq.ticker, for queues with queue_notify
    select pg_notify('pgq_tick', case when octet_length(i_queue_name) < 7900
                                      then i_tick_id || ' ' || i_queue_name
                                      else i_tick_id::text end);
$$ language sql set search_path = pg_catalog, pgq, pg_temp;
