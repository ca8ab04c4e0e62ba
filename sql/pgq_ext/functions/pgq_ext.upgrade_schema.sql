create or replace function pgq_ext.upgrade_schema()
returns integer as $$
-- pgq_ext.upgrade_schema(0): gives tables of version 2 the columns of version 3.
-- Returns:  number of changes; 0 when there is nothing to do
-- Changes:  pgq_ext.completed_tick, completed_batch, completed_event and partial_batch: adds
--           subconsumer_id, '' for what is there, to the columns and to the primary key
-- Locks:    tables that it changes
-- Used by:  install.sql
declare
    v_table record;
    v_count integer := 0;
begin
    for v_table in
        select * from (values
            ('completed_tick', 'consumer_id, subconsumer_id'),
            ('completed_batch', 'consumer_id, subconsumer_id'),
            ('completed_event', 'consumer_id, subconsumer_id, batch_id, event_id'),
            ('partial_batch', 'consumer_id, subconsumer_id')) t (name, key)
    loop
        continue when exists (
            select
              from pg_attribute
             where attrelid = format('pgq_ext.%I', v_table.name)::regclass
               and attname = 'subconsumer_id'
               and not attisdropped);
        execute format('alter table pgq_ext.%1$I'
                       ' add column subconsumer_id text not null default '''','
                       ' drop constraint %2$I,'
                       ' add constraint %2$I primary key (%3$s)',
                       v_table.name, v_table.name || '_pkey', v_table.key);
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql set search_path = pg_catalog, pgq_ext, pg_temp;
