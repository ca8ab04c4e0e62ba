create or replace function pgq.unregister_consumer(x_queue_name text, x_consumer_name text)
returns integer as $$
-- pgq.unregister_consumer(2): removes a consumer with its retry and failed events.
-- Parameters:
--      x_queue_name         queue
--      x_consumer_name      consumer; the main one of a cooperative group takes its members along
-- Returns:  number of subscriptions removed; 0 if it is not registered
-- Changes:  pgq.subscription, pgq.consumer, pgq.retry_queue, pgq.failed_queue
-- Locks:    its rows of pgq.subscription and pgq.consumer
-- Used by:  pgqadm unregister, consumers
declare
    v_queue         integer;
    v_consumer      integer;
    v_subscription  integer;
    v_consumers     integer[];
    v_count         integer;
begin
    select s.sub_queue, s.sub_consumer, s.sub_id
      into v_queue, v_consumer, v_subscription
      from pgq.queue q
      join pgq.subscription s on s.sub_queue = q.queue_id
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = x_queue_name
       and c.co_name = x_consumer_name
       for update of s, c;
    if not found then
        return 0;
    end if;

    if pgq._is_subconsumer(v_queue, v_consumer) then
        -- The group lives on, and with it what it has to retry.
        delete from pgq.subscription where sub_queue = v_queue and sub_consumer = v_consumer;
        v_consumers := array[v_consumer];
        v_count := 1;
    else
        delete from pgq.retry_queue where ev_queue = v_queue and ev_owner = v_subscription;
        -- A failed event does not say its queue. Were two queues to share a sub_id, the other
        -- queue's failed events would go too, so they stay then.
        delete from pgq.failed_queue
         where ev_owner = v_subscription
           and not exists (select
                             from pgq.subscription
                            where sub_id = v_subscription
                              and sub_queue <> v_queue);
        with gone as (
            delete from pgq.subscription
             where sub_queue = v_queue
               and sub_id = v_subscription
         returning sub_consumer
        )
        select array_agg(sub_consumer), count(*) into v_consumers, v_count from gone;
    end if;

    perform pgq._drop_unused_consumers(v_consumers);
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
