create or replace function pgq.event_retry_raw(
    x_queue text, x_consumer text, x_retry_after timestamptz,
    x_ev_id bigint, x_ev_time timestamptz, x_ev_retry integer,
    x_ev_type text, x_ev_data text, x_ev_extra1 text, x_ev_extra2 text, x_ev_extra3 text, x_ev_extra4 text)
returns bigint as $$
-- pgq.event_retry_raw(12): puts an event of any content into the retry queue.
-- Parameters:
--      x_queue, x_consumer      a registered consumer
--      x_retry_after            not before this time
--      x_ev_id                  id, or null for a new one
--      x_ev_time, x_ev_retry, x_ev_type .. x_ev_extra4      the event
-- Returns:  id of the event
-- Raises:   "consumer not registered"; unique_violation if the event waits already
-- Changes:  pgq.retry_queue, with a null id the queue's event sequence
-- Used by:  administrators, movers
declare
    v_sub   record;
    v_id    bigint := x_ev_id;
begin
    select s.sub_id, s.sub_queue, q.queue_event_seq
      into v_sub
      from pgq.queue q
      join pgq.subscription s on s.sub_queue = q.queue_id
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = x_queue
       and c.co_name = x_consumer;
    if not found then
        raise exception 'consumer not registered';
    end if;
    if v_id is null then
        v_id := nextval(pgq.quote_fqname(v_sub.queue_event_seq)::regclass);
    end if;
    insert into pgq.retry_queue (
        ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
        ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    values (x_retry_after, v_sub.sub_queue, v_id, x_ev_time, v_sub.sub_id, x_ev_retry,
            x_ev_type, x_ev_data, x_ev_extra1, x_ev_extra2, x_ev_extra3, x_ev_extra4);
    return v_id;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
