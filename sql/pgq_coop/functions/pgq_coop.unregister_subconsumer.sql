create or replace function pgq_coop.unregister_subconsumer(
    i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_batch_handling integer)
returns integer as $$
-- pgq_coop.unregister_subconsumer(4): removes a member of a cooperative group.
-- Parameters:
--      i_queue_name, i_consumer_name      main consumer of the group
--      i_subconsumer_name                 the member
--      i_batch_handling      what happens to its open batch. 0: refuse; 1: drop it, the group never
--                            sees its events again; 2: put its events into the retry queue first
-- Returns:  1, or 0 if there is no such member
-- Raises:   "subconsumer has active batch"
-- Changes:  pgq.subscription, pgq.consumer, with 2 pgq.retry_queue
-- Locks:    the rows of the main consumer and of the member
-- Used by:  cooperative consumers, administrators
declare
    v_member    record;
begin
    -- The main consumer first, as everywhere.
    perform
       from pgq.queue q
       join pgq.subscription s on s.sub_queue = q.queue_id
       join pgq.consumer c on c.co_id = s.sub_consumer
      where q.queue_name = i_queue_name
        and c.co_name = i_consumer_name
        for update of s;
    select s.* into v_member
      from pgq.queue q
      join pgq.subscription m on m.sub_queue = q.queue_id
      join pgq.consumer mc on mc.co_id = m.sub_consumer
      join pgq.subscription s on s.sub_queue = m.sub_queue and s.sub_id = m.sub_id
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = i_queue_name
       and mc.co_name = i_consumer_name
       and c.co_name = i_consumer_name || '.' || i_subconsumer_name
       for update of s;
    if not found then
        return 0;
    end if;

    if v_member.sub_batch is not null then
        if i_batch_handling = 2 then
            perform pgq.batch_retry(v_member.sub_batch, 0);
        elsif i_batch_handling is distinct from 1 then
            raise exception 'subconsumer has active batch'
                using hint = 'Handling 1 drops the batch, 2 puts its events into the retry queue.';
        end if;
    end if;
    delete from pgq.subscription
     where sub_queue = v_member.sub_queue
       and sub_consumer = v_member.sub_consumer;
    perform pgq._drop_unused_consumers(array[v_member.sub_consumer]);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp;
