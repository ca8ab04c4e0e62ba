create or replace function pgq.failed_event_purge(i_queue_name text, i_consumer_name text, i_older_than interval)
returns integer as $$
-- pgq.failed_event_purge(3): forgets events that a consumer gave up on some time ago.
-- Parameters:
--      i_queue_name, i_consumer_name      consumer
--      i_older_than      those that failed so long ago or longer; '0': all
-- Returns:  number of events
-- Raises:   "no such queue/consumer"; "Invalid NULL value"
-- Changes:  pgq.failed_queue
-- Used by:  administrators
declare
    v_owner integer := pgq._owner_id(i_queue_name, i_consumer_name);
    v_count integer;
begin
    if v_owner is null then
        raise exception 'no such queue/consumer';
    end if;
    if i_older_than is null then
        raise exception 'Invalid NULL value';
    end if;
    delete from pgq.failed_queue
     where ev_owner = v_owner
       and ev_failed_time <= current_timestamp - i_older_than;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
