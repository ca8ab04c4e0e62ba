create or replace function pgq.next_batch_info(
    i_queue_name text, i_consumer_name text,
    out batch_id bigint, out cur_tick_id bigint, out prev_tick_id bigint,
    out cur_tick_time timestamptz, out prev_tick_time timestamptz,
    out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
as $$
-- pgq.next_batch_info(2): opens the next batch and says where it lies.
-- Parameters:
--      i_queue_name, i_consumer_name      a registered consumer
-- Returns:  as pgq.next_batch_custom
-- Raises:   as pgq.next_batch_custom
-- Changes:  pgq.subscription
-- Used by:  clients
begin
    select f.batch_id, f.cur_tick_id, f.prev_tick_id, f.cur_tick_time, f.prev_tick_time,
           f.cur_tick_event_seq, f.prev_tick_event_seq
      into batch_id, cur_tick_id, prev_tick_id, cur_tick_time, prev_tick_time,
           cur_tick_event_seq, prev_tick_event_seq
      from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
