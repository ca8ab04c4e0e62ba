create or replace function pgq.nack(i_batch_id bigint, i_event_id bigint, i_delay interval, i_reason text)
returns text as $$
-- pgq.nack(4): says that an event could not be processed: it comes again later, or is kept as failed once
-- it has come again as often as the queue's setting max_retries allows. Without the setting it comes
-- again forever. May be repeated: an event that waits or is kept already stays so.
-- Parameters:
--      i_batch_id      an open batch, which is to be finished all the same
--      i_event_id      an event of it; what is stored is the event in the queue
--      i_delay         not before so long from now; null: as soon as possible
--      i_reason        why, for whoever looks at failed events
-- Returns:  'retry' if the event will come again, 'failed' if it is in pgq.failed_queue
-- Raises:   "event not found"
-- Reads:    pgq.queue, the event tables
-- Changes:  pgq.retry_queue or pgq.failed_queue
-- Used by:  consumers
declare
    v_event     record;
begin
    select e.owner_id, e.ev_id,
           coalesce(e.ev_retry, 0) >= q.queue_max_retries as exhausted,
           f.ev_id is not null as failed,
           r.ev_id is not null as waits
      into v_event
      from pgq._batch_event(i_batch_id, i_event_id) e
      join pgq.queue q on q.queue_id = e.queue_id
      left join pgq.failed_queue f on f.ev_owner = e.owner_id and f.ev_id = e.ev_id
      left join pgq.retry_queue r on r.ev_owner = e.owner_id and r.ev_id = e.ev_id;

    if v_event.failed then
        return 'failed';
    elsif v_event.waits then
        return 'retry';
    elsif v_event.exhausted then
        perform pgq.event_failed(i_batch_id, i_event_id, i_reason);
        return 'failed';
    else
        perform pgq.event_retry(i_batch_id, i_event_id, current_timestamp + coalesce(i_delay, interval '0'));
        return 'retry';
    end if;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
