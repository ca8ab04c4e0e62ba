create or replace function pgq._owner_id(i_queue_name text, i_consumer_name text)
returns integer as $$
-- pgq._owner_id(2): owner id of a consumer's retry and failed events.
-- Parameters:
--      i_queue_name, i_consumer_name      a consumer, or any member of a cooperative group
-- Returns:  the sub_id, which a group shares; null if it is not registered
-- Reads:    pgq.queue, pgq.consumer, pgq.subscription
-- Used by:  the functions of the failed queue
    select s.sub_id
      from pgq.queue q
      join pgq.subscription s on s.sub_queue = q.queue_id
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = i_queue_name
       and c.co_name = i_consumer_name;
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
