create or replace function pgq._age(i_time timestamptz)
returns interval as $$
-- pgq._age(1): how long ago something was.
-- Parameters:
--      i_time      a time that was now()
-- Returns:  interval >= 0, since a clock that is set back puts the past into the future; null for a null
-- Used by:  pgq.get_queue_info, pgq.get_consumer_info, pgq.get_batch_info, pgq._queue_health,
--           pgq.get_consumer_health, pgq._rotation_blocker, pgq._snapshot_holders
    select greatest(now() - i_time, interval '0');
$$ language sql stable strict set search_path = pg_catalog, pg_temp;
