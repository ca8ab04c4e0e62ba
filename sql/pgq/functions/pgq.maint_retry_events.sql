create or replace function pgq.maint_retry_events()
returns integer as $$
-- pgq.maint_retry_events(0): moves events whose time has come back into their queues.
-- Returns:  number of events moved, 10 at most; the caller repeats until 0, a transaction per call
-- Reads:    pgq.queue; a queue that refuses inserts keeps its events waiting, and nobody else's
-- Changes:  pgq.retry_queue, the event tables
-- Locks:    pgq.retry_queue in share update exclusive: one mover at a time, consumers may insert
-- Used by:  daemons
declare
    v_event record;
    v_count integer := 0;
begin
    lock table pgq.retry_queue in share update exclusive mode;
    for v_event in
        select q.queue_name, r.*
          from pgq.retry_queue r
          join pgq.queue q on q.queue_id = r.ev_queue
         where r.ev_retry_after <= current_timestamp
           and (not q.queue_disable_insert or current_setting('session_replication_role') = 'replica')
         order by r.ev_retry_after
         limit 10
    loop
        perform pgq.insert_event_raw(
            v_event.queue_name, v_event.ev_id, v_event.ev_time, v_event.ev_owner, v_event.ev_retry,
            v_event.ev_type, v_event.ev_data,
            v_event.ev_extra1, v_event.ev_extra2, v_event.ev_extra3, v_event.ev_extra4);
        delete from pgq.retry_queue
         where ev_owner = v_event.ev_owner
           and ev_id = v_event.ev_id;
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
