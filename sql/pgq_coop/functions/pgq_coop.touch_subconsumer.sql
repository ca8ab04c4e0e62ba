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
declare
    v_main      record;
    v_member    record;
begin
    select s.sub_queue, s.sub_id
      into v_main
      from pgq.subscription s
     where s.sub_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue_name)
       and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = i_consumer_name)
     order by s.sub_version desc
     limit 1;
    select s.*
      into v_member
      from pgq.subscription s
     where s.sub_queue = v_main.sub_queue
       and s.sub_consumer = (select c.co_id
                               from pgq.consumer c
                              where c.co_name = i_consumer_name || '.' || i_subconsumer_name)
       and s.sub_id = v_main.sub_id
     order by s.sub_version desc
     limit 1
       for update;
    update pgq.subscription
       set sub_active = now(),
           sub_version = sub_version + 1
     where sub_queue = v_member.sub_queue
       and sub_consumer = v_member.sub_consumer
       and sub_version = v_member.sub_version;
    return case when found then 1 else 0 end;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp set enable_seqscan = off;
