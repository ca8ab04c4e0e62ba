create or replace function pgq_ext.upgrade_schema()
returns integer as $$
-- pgq_ext.upgrade_schema(0): gives tables of older versions the columns that they lack.
-- Returns:  number of changes; 0 when there is nothing to do
-- Changes:  pgq_ext.completed_tick, completed_batch, completed_event and partial_batch: adds
--           subconsumer_id, '' for what is there, to the columns and to the primary key; to the first two
--           the time of what was applied last, unknown for what is there
-- Locks:    tables that it changes
-- Used by:  install.sql
declare
    v_table record;
    v_count integer := 0;
begin
    for v_table in
        select * from (values
            ('completed_tick', 'subconsumer_id', 'consumer_id, subconsumer_id'),
            ('completed_batch', 'subconsumer_id', 'consumer_id, subconsumer_id'),
            ('completed_event', 'subconsumer_id', 'consumer_id, subconsumer_id, batch_id, event_id'),
            ('partial_batch', 'subconsumer_id', 'consumer_id, subconsumer_id'),
            ('completed_tick', 'last_tick_time', null),
            ('completed_batch', 'last_batch_end', null)) t (name, added, key)
    loop
        continue when exists (
            select
              from pg_attribute
             where attrelid = format('pgq_ext.%I', v_table.name)::regclass
               and attname = v_table.added
               and not attisdropped);
        if v_table.key is null then
            execute format('alter table pgq_ext.%I add column %I timestamptz', v_table.name, v_table.added);
        else
            execute format('alter table pgq_ext.%1$I'
                           ' add column %2$I text not null default '''','
                           ' drop constraint %3$I,'
                           ' add constraint %3$I primary key (%4$s)',
                           v_table.name, v_table.added, v_table.name || '_pkey', v_table.key);
        end if;
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql set search_path = pg_catalog, pgq_ext, pg_temp;
