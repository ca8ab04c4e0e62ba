create or replace function pgq.receive(
    i_queue_name text, i_consumer_name text, i_max_events integer,
    out batch_id bigint, out ev_id bigint, out ev_time timestamptz, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text,
    out left_in_batch bigint)
returns setof record as $$
-- pgq.receive(3): events to work on, from the consumer's open batch or else from the next one. Batches
-- without events are finished on the way. What it returns it returns again until the batch is finished.
-- Parameters:
--      i_queue_name, i_consumer_name      a registered consumer
--      i_max_events      rows at most, the first of the batch by ev_id; null: the whole batch. The batch
--                        is still open as a whole: see left_in_batch
-- Returns:  batch_id, for pgq.ack and pgq.nack; the event; left_in_batch: events of the batch after this
--           one, returned or not. The batch may be finished when the event with 0 is done; until
--           then go on with pgq.receive_more. No rows: nothing to do before the next tick
-- Raises:   as pgq.next_batch_custom; "cannot receive ... events"
-- Reads:    the event tables, with the caller's rights
-- Changes:  pgq.subscription
-- Used by:  consumers that have only SQL; the example is in pgq.send
begin
    if i_max_events < 1 then
        raise exception 'cannot receive % events', i_max_events
            using errcode = 'invalid_parameter_value';
    end if;
    loop
        batch_id := pgq.next_batch(i_queue_name, i_consumer_name);
        exit when batch_id is null;
        return query select * from pgq.receive_more(batch_id, null, i_max_events);
        exit when found;
        perform pgq.finish_batch(batch_id);
    end loop;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.receive(
    i_queue_name text, i_consumer_name text,
    out batch_id bigint, out ev_id bigint, out ev_time timestamptz, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text,
    out left_in_batch bigint)
returns setof record as $$
-- pgq.receive(2): all events of the consumer's open batch, or else of the next one that has any.
-- Parameters:
--      i_queue_name, i_consumer_name      a registered consumer
-- Returns:  as pgq.receive(3)
-- Raises:   as pgq.next_batch_custom
-- Reads:    the event tables, with the caller's rights
-- Changes:  pgq.subscription
-- Used by:  consumers that have only SQL; the example is in pgq.send
begin
    return query select * from pgq.receive(i_queue_name, i_consumer_name, null);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
