create or replace function pgq.batch_retry(i_batch_id bigint, i_retry_seconds integer)
returns integer as $$
-- pgq.batch_retry(2): has all events of a batch delivered again to this consumer.
-- Parameters:
--      i_batch_id           an open batch
--      i_retry_seconds      not before so many seconds from now
-- Returns:  number of events put into the retry queue; those that wait already do not count
-- Raises:   "batch_retry: batch ... not found"
-- Changes:  pgq.retry_queue
-- Used by:  consumers
declare
    v_sub   record;
    v_count integer;
begin
    select s.sub_queue, s.sub_id into v_sub from pgq.subscription s where s.sub_batch = i_batch_id;
    if not found then
        raise exception 'batch_retry: batch % not found', i_batch_id;
    end if;
    insert into pgq.retry_queue (
        ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, ev_owner, ev_retry,
        ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select distinct on (e.ev_id)
           current_timestamp + make_interval(secs => i_retry_seconds), v_sub.sub_queue,
           e.ev_id, e.ev_time, null::bigint, v_sub.sub_id, coalesce(e.ev_retry, 0) + 1,
           e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
      from pgq.get_batch_events(i_batch_id) e
     order by e.ev_id, e.ev_retry desc nulls last
        on conflict (ev_owner, ev_id) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
