create or replace function pgq_coop._lock_main(
    i_queue_name text, i_consumer_name text,
    out queue_id integer, out consumer_id integer, out group_id integer, out next_tick bigint)
as $$
-- pgq_coop._lock_main(2): locks the subscription that a cooperative group shares.
-- Parameters:
--      i_queue_name, i_consumer_name      main consumer; it is registered if it is not yet
-- Returns:  queue, consumer, the sub_id of the group, and the end of the batch that the main consumer has
--           open, which none should
-- Raises:   as pgq.register_consumer
-- Changes:  pgq.consumer, pgq.subscription
-- Locks:    the row of pgq.subscription, first of the group's: whoever holds it may look for members and
--           remove them
-- Used by:  the functions of pgq_coop
begin
    for i in 1 .. 2 loop
        select s.sub_queue, s.sub_consumer, s.sub_id, s.sub_next_tick
          into queue_id, consumer_id, group_id, next_tick
          from pgq.subscription s
         where s.sub_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue_name)
           and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = i_consumer_name)
         order by s.sub_version desc
         limit 1
           for update;
        exit when found;
        perform pgq.register_consumer(i_queue_name, i_consumer_name);
    end loop;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql set search_path = pg_catalog, pgq_coop, pg_temp set enable_seqscan = off;
