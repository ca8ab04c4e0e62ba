create or replace function pgq._batch_event(
    i_batch_id bigint, i_event_id bigint,
    out queue_id integer, out owner_id integer,
    out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
as $$
-- pgq._batch_event(2): one event of an open batch, and whose it is.
-- Parameters:
--      i_batch_id      an open batch
--      i_event_id      an event of it
-- Returns:  the event's columns, its queue and the batch's subscription
-- Raises:   "event not found", also for an unknown batch
-- Reads:    pgq.subscription, the event tables; does not read the whole batch
-- Used by:  pgq.event_retry, pgq.event_failed, pgq.nack
begin
    select p.queue_id, p.owner_id
      into queue_id, owner_id
      from pgq._batch_place(i_batch_id) p;
    if queue_id is null or i_event_id is null then
        raise exception 'event not found';
    end if;
    -- An event that came twice, by retry, has one content; the counter is that of the last time.
    execute pgq._batch_sql(i_batch_id, i_event_id) || ' order by 4 desc nulls last limit 1'
       into ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data,
            ev_extra1, ev_extra2, ev_extra3, ev_extra4;
    if ev_id is null then
        raise exception 'event not found';
    end if;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
