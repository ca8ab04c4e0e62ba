create or replace function pgq_ext.set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint)
returns integer as $$
-- pgq_ext.set_last_tick(3): remembers the last tick applied. Belongs into the transaction that applies
-- the batch.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_tick_id                      tick; null forgets the consumer
-- Returns:  1
-- Changes:  pgq_ext.completed_tick
-- Used by:  consumers
begin
    if a_tick_id is null then
        delete from pgq_ext.completed_tick
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer;
    else
        insert into pgq_ext.completed_tick (consumer_id, subconsumer_id, last_tick_id)
        values (a_consumer, a_subconsumer, a_tick_id)
            on conflict (consumer_id, subconsumer_id)
            do update set last_tick_id = excluded.last_tick_id;
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.set_last_tick(a_consumer text, a_tick_id bigint)
returns integer as $$
-- pgq_ext.set_last_tick(2): remembers the last tick applied.
-- Parameters:
--      a_consumer      who
--      a_tick_id       tick; null forgets the consumer
-- Returns:  1
-- Changes:  pgq_ext.completed_tick
-- Used by:  consumers
    select pgq_ext.set_last_tick($1, '', $2);
$$ language sql;
