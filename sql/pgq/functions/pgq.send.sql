create or replace function pgq.send(i_queue_name text, i_ev_type text, i_ev_data text)
returns bigint as $$
-- pgq.send(3): inserts an event; a short name for pgq.insert_event.
-- Parameters:
--      i_queue_name              an existing queue
--      i_ev_type, i_ev_data      content, each may be null
-- Returns:  id of the event
-- Raises:   as pgq.insert_event_raw
-- Changes:  the queue's current table
-- Used by:  producers that have only SQL
--
-- Example:  a queue, a consumer, one event there and back. Ticks come from pgqadm ticker.
--      select pgq.create_queue('mail'), pgq.register_consumer('mail', 'sender');
--      select pgq.send('mail', 'welcome', '{"to": "ann"}');
--      select * from pgq.receive('mail', 'sender');    -- no rows: ask again after the next tick
--      select pgq.nack(BATCH, EVENT, '1 minute', 'mailbox full');    -- for an event that failed
--      select pgq.ack(BATCH);                          -- for the whole batch
    select pgq.insert_event($1, $2, $3, null, null, null, null);
$$ language sql;

create or replace function pgq.send(i_queue_name text, i_ev_data text)
returns bigint as $$
-- pgq.send(2): inserts an event without a type.
-- Parameters:
--      i_queue_name      an existing queue
--      i_ev_data         content, may be null
-- Returns:  id of the event
-- Raises:   as pgq.insert_event_raw
-- Changes:  the queue's current table
-- Used by:  producers that have only SQL
    select pgq.insert_event($1, null, $2, null, null, null, null);
$$ language sql;
