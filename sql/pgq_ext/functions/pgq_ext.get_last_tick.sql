create or replace function pgq_ext.get_last_tick(a_consumer text, a_subconsumer text)
returns bigint as $$
-- pgq_ext.get_last_tick(2): last tick that a consumer applied.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
-- Returns:  id of the tick; null if none is stored
-- Reads:    pgq_ext.completed_tick
-- Used by:  consumers
begin
    return (select last_tick_id
              from pgq_ext.completed_tick
             where consumer_id = a_consumer
               and subconsumer_id = a_subconsumer);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.get_last_tick(a_consumer text)
returns bigint as $$
-- pgq_ext.get_last_tick(1): last tick that a consumer applied.
-- Parameters:
--      a_consumer      who
-- Returns:  id of the tick; null if none is stored
-- Used by:  consumers
    select pgq_ext.get_last_tick($1, '');
$$ language sql;
