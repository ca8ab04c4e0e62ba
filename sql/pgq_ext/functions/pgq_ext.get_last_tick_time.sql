create or replace function pgq_ext.get_last_tick_time(a_consumer text, a_subconsumer text)
returns timestamptz as $$
-- pgq_ext.get_last_tick_time(2): when the last tick that a consumer applied was made at its source. A tick of the same
-- number with another time is another one: the source has lost the first, in a failover or a restore.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
-- Returns:  time of the tick; null if none is stored, or by a program that does not tell its time
-- Reads:    pgq_ext.completed_tick
-- Used by:  consumers
begin
    return (select last_tick_time
              from pgq_ext.completed_tick
             where consumer_id = a_consumer
               and subconsumer_id = a_subconsumer);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.get_last_tick_time(a_consumer text)
returns timestamptz as $$
-- pgq_ext.get_last_tick_time(1): when the last tick that a consumer applied was made at its source.
-- Parameters:
--      a_consumer      who
-- Returns:  time of the tick; null if it is not known
-- Used by:  consumers
    select pgq_ext.get_last_tick_time($1, '');
$$ language sql;
