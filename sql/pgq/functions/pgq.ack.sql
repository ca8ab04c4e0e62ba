create or replace function pgq.ack(i_batch_id bigint)
returns integer as $$
-- pgq.ack(1): finishes a batch, the whole of it: events that were not received do not come again, those
-- given to pgq.nack do.
-- Parameters:
--      i_batch_id      an open batch
-- Returns:  1, or 0 with a warning if no such batch is open
-- Changes:  pgq.subscription
-- Used by:  consumers that have only SQL; the example is in pgq.send
begin
    return pgq.finish_batch(i_batch_id);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.ack(i_batch_id bigint, i_last_event bigint)
returns integer as $$
-- pgq.ack(2): finishes a batch, and refuses if events of it were not received yet.
-- Parameters:
--      i_batch_id        an open batch
--      i_last_event      ev_id of the last event that is done
-- Returns:  1, or 0 with a warning if no such batch is open
-- Raises:   "batch ... has ... more events after event ..."; "Invalid NULL value"
-- Reads:    the event tables, with the caller's rights
-- Changes:  pgq.subscription
-- Used by:  consumers that receive a part of a batch at a time
declare
    v_left  bigint;
begin
    if i_last_event is null then
        raise exception 'Invalid NULL value';
    end if;
    if exists (select from pgq.subscription where sub_batch = i_batch_id) then
        select count(*) into v_left from pgq.get_batch_events(i_batch_id) where ev_id > i_last_event;
        if v_left > 0 then
            raise exception 'batch % has % more events after event %', i_batch_id, v_left, i_last_event
                using hint = format('To get them: select * from pgq.receive_more(%s, %s, null)',
                                    i_batch_id, i_last_event);
        end if;
    end if;
    return pgq.finish_batch(i_batch_id);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
