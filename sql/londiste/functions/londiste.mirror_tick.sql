create or replace function londiste.mirror_tick(
    i_queue_name text, i_tick_id bigint, i_tick_time timestamptz, i_event_seq bigint)
returns bigint as $$
-- londiste.mirror_tick(4): ends a batch of a relay's queue with the provider's tick. The events must have
--           been committed before.
-- Parameters:
--      i_queue_name    a queue with ticks from outside
--      i_tick_id       tick of the provider
--      i_tick_time     its time; null: now
--      i_event_seq     its position of the event sequence; null: unknown
-- Returns:  the tick
-- Raises:   as pgq.ticker(4)
-- Changes:  pgq.tick, the queue's sequences
-- Used by:  replay of a relay
declare
    v_sequence  text;
    v_position  bigint;
begin
    select q.queue_event_seq into v_sequence from pgq.queue q where q.queue_name = i_queue_name;
    if found then
        v_position := coalesce(pg_sequence_last_value(londiste.quote_fqname(v_sequence)::regclass), 0);
    end if;
    return pgq.ticker(i_queue_name, i_tick_id, coalesce(i_tick_time, now()),
                      greatest(i_event_seq, v_position));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
