create or replace function pgq.finish_batch(x_batch_id bigint)
returns integer as $$
-- pgq.finish_batch(1): closes a batch; its consumer goes on after the tick that ends it.
-- Parameters:
--      x_batch_id      an open batch
-- Returns:  1, or 0 with a warning if no such batch is open
-- Changes:  pgq.subscription
-- Used by:  consumers
declare
    v_sub   record;
begin
    select s.sub_queue, s.sub_consumer, s.sub_version
      into v_sub
      from pgq.subscription s
     where s.sub_batch = x_batch_id
       for update;
    if not found then
        raise warning 'finish_batch: batch % not found', x_batch_id;
        return 0;
    end if;

    -- The position of a cooperative group is its main consumer's; a member between batches has none.
    update pgq.subscription s
       set sub_last_tick = case when pgq._is_subconsumer(s.sub_queue, s.sub_consumer)
                                then null else s.sub_next_tick end,
           sub_next_tick = null,
           sub_batch = null,
           sub_active = now(),
           sub_version = s.sub_version + 1
     where s.sub_queue = v_sub.sub_queue
       and s.sub_consumer = v_sub.sub_consumer
       and s.sub_version = v_sub.sub_version;
    return 1;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp set enable_seqscan = off;
