create or replace function pgq.next_batch(i_queue_name text, i_consumer_name text)
returns bigint as $$
-- pgq.next_batch(2): opens the next batch, or returns the one that is open.
-- Parameters:
--      i_queue_name, i_consumer_name      a registered consumer
-- Returns:  id of the batch; null if no tick has passed
-- Raises:   as pgq.next_batch_custom
-- Changes:  pgq.subscription
-- Used by:  consumers
begin
    return (select f.batch_id
              from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
