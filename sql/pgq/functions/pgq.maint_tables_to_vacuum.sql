create or replace function pgq.maint_tables_to_vacuum()
returns setof text as $$
-- pgq.maint_tables_to_vacuum(0): tables that maintenance should vacuum.
-- Returns:  names of existing small and busy tables; none while autovacuum is on
-- Used by:  pgq.maint_operations
begin
    if current_setting('autovacuum') = 'on' then
        return;
    end if;
    return query
        select t.name
          from unnest(array[
                   'pgq.subscription', 'pgq.consumer', 'pgq.queue', 'pgq.tick', 'pgq.retry_queue',
                   'pgq_ext.completed_tick', 'pgq_ext.completed_batch', 'pgq_ext.completed_event',
                   'pgq_ext.partial_batch', 'pgq_node.local_state', 'londiste.seq_info', 'txid.epoch',
                   'londiste.completed'])
               with ordinality t (name, position)
         where to_regclass(t.name) is not null
         order by t.position;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
