create or replace function pgq.tune_storage(i_queue_name text)
returns integer as $$
-- pgq.tune_storage(1): sets the storage options of a queue's data tables.
-- Parameters:
--      i_queue_name      queue
-- Returns:  1, or 0 if there is no such queue
-- Reads:    pgq.queue
-- Changes:  options of the tables. Events are inserted once, never updated, and truncated with their
--           table: neither free space nor vacuum has a use.
-- Used by:  pgq.create_queue, grants.sql for the queues of an older version
declare
    v_prefix    text;
    v_ntables   integer;
    v_table     text;
begin
    select q.queue_data_pfx, q.queue_ntables
      into v_prefix, v_ntables
      from pgq.queue q
     where q.queue_name = i_queue_name;
    if not found then
        return 0;
    end if;
    for i in 0 .. v_ntables - 1 loop
        v_table := pgq.quote_fqname(v_prefix || '_' || i);
        -- No lock without need: this runs at every installation.
        continue when exists (
            select
              from pg_class c
              left join pg_class t on t.oid = c.reltoastrelid
             where c.oid = v_table::regclass
               and c.reloptions @> array['fillfactor=100', 'autovacuum_enabled=off']
               and (t.oid is null or t.reloptions @> array['autovacuum_enabled=off']));
        execute format('alter table %s set (fillfactor = 100, autovacuum_enabled = off, toast.autovacuum_enabled = off)',
                       v_table);
    end loop;
    return 1;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
