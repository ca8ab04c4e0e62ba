create or replace function pgq_coop.touch_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text)
returns integer as $$
-- pgq_coop.touch_subconsumer(3): says that a member is alive, so that a long batch is not taken over.
-- Parameters:
--      i_queue_name, i_consumer_name      main consumer of the group
--      i_subconsumer_name                 the member
-- Returns:  1, or 0 if there is no such member: its batch has gone to another one
-- Changes:  pgq.subscription; seen by the others after the commit. Until then nobody takes the batch
--           over either
-- Used by:  cooperative consumers
begin
    update pgq.subscription s
       set sub_active = now(),
           sub_version = s.sub_version + 1
      from pgq.queue q, pgq.consumer c, pgq.subscription m, pgq.consumer mc
     where q.queue_name = i_queue_name
       and mc.co_name = i_consumer_name
       and m.sub_queue = q.queue_id
       and m.sub_consumer = mc.co_id
       and c.co_name = i_consumer_name || '.' || i_subconsumer_name
       and s.sub_queue = m.sub_queue
       and s.sub_consumer = c.co_id
       and s.sub_id = m.sub_id;
    return case when found then 1 else 0 end;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp;
