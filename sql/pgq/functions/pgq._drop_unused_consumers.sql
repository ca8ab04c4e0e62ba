create or replace function pgq._drop_unused_consumers(i_consumers integer[])
returns void as $$
-- pgq._drop_unused_consumers(1): forgets the names of consumers that are registered nowhere any more.
-- Parameters:
--      i_consumers      ids of consumers
-- Returns:  nothing
-- Reads:    pgq.subscription
-- Changes:  pgq.consumer
-- Locks:    their rows of pgq.consumer
-- Used by:  pgq.unregister_consumer, pgq_coop
begin
    -- A statement of its own: whoever is registering one of them holds the row, and has registered it
    -- when the next statement looks.
    perform
       from pgq.consumer
      where co_id = any (i_consumers)
      order by co_id
        for update;
    delete from pgq.consumer c
     where c.co_id = any (i_consumers)
       and not exists (select from pgq.subscription where sub_consumer = c.co_id);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
