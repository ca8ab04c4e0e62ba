create or replace function pgq_ext.set_last_tick(
    a_consumer text, a_subconsumer text, a_tick_id bigint, a_tick_time timestamptz)
returns integer as $$
-- pgq_ext.set_last_tick(4): remembers the last tick applied, and when it was made: a source that was restored to an
-- older state gives out the same numbers again. Belongs into the transaction that applies the batch.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_tick_id                      tick; null forgets the consumer
--      a_tick_time                    its time at the source; null: unknown
-- Returns:  1
-- Changes:  pgq_ext.completed_tick
-- Used by:  consumers
begin
    if a_tick_id is null then
        delete from pgq_ext.completed_tick
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer;
    else
        insert into pgq_ext.completed_tick (consumer_id, subconsumer_id, last_tick_id, last_tick_time)
        values (a_consumer, a_subconsumer, a_tick_id, a_tick_time)
            on conflict (consumer_id, subconsumer_id)
            do update set last_tick_id = excluded.last_tick_id, last_tick_time = excluded.last_tick_time;
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

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
    return pgq_ext.set_last_tick(a_consumer, a_subconsumer, a_tick_id, null);
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
