create or replace function pgq._is_subconsumer(i_queue_id integer, i_consumer_id integer)
returns boolean as $$
-- pgq._is_subconsumer(2): whether a subscription is a member of a cooperative group.
-- Parameters:
--      i_queue_id, i_consumer_id      a row of pgq.subscription
-- Returns:  true if another row with its sub_id has a name that this one's extends by a dot
-- Reads:    pgq.subscription, pgq.consumer
-- Used by:  pgq.finish_batch, pgq.unregister_consumer
    select exists (
        select
          from pgq.subscription s
          join pgq.consumer c on c.co_id = s.sub_consumer
          join pgq.subscription m on m.sub_queue = s.sub_queue
                                 and m.sub_id = s.sub_id
                                 and m.sub_consumer <> s.sub_consumer
          join pgq.consumer mc on mc.co_id = m.sub_consumer
         where s.sub_queue = i_queue_id
           and s.sub_consumer = i_consumer_id
           and starts_with(c.co_name, mc.co_name || '.'));
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
