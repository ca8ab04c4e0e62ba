create or replace function pgq.force_tick(i_queue_name text)
returns bigint as $$
-- pgq.force_tick(1): makes the next run of the ticker tick, by pretending a burst of events.
-- Parameters:
--      i_queue_name      queue
-- Returns:  newest tick so far; null if there is none or no such queue. A caller repeats it until the
--           id changes
-- Reads:    pgq.queue, pgq.tick
-- Changes:  the queue's event sequence, unless the queue is paused or ticks from outside
-- Used by:  consumers that wait for a position
declare
    v_queue     record;
    v_sequence  regclass;
begin
    select q.queue_id, q.queue_event_seq, q.queue_ticker_max_count,
           q.queue_external_ticker or q.queue_ticker_paused as passive
      into v_queue
      from pgq.queue q
     where q.queue_name = i_queue_name;
    if not found then
        return null;
    end if;
    if not v_queue.passive then
        v_sequence := pgq.quote_fqname(v_queue.queue_event_seq)::regclass;
        perform setval(v_sequence, nextval(v_sequence) + 2 * v_queue.queue_ticker_max_count::bigint + 1000);
    end if;
    return (select t.tick_id
              from pgq.tick t
             where t.tick_queue = v_queue.queue_id
             order by t.tick_queue desc, t.tick_id desc
             limit 1);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
