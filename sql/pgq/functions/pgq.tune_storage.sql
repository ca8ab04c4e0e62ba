create or replace function pgq.tune_storage(i_queue_name text)
returns integer as $$
-- pgq.tune_storage(1): sets the storage options of a queue's data tables.
-- Parameters:
--      i_queue_name      queue
-- Returns:  1, or 0 if there is no such queue
-- Reads:    pgq.queue
-- Changes:  options of the tables. Events are inserted once, never updated, and truncated with their
--           table: neither free space nor vacuum has a use.
-- Used by:  pgq.create_queue
declare
    v_prefix    text;
    v_ntables   integer;
begin
    select q.queue_data_pfx, q.queue_ntables
      into v_prefix, v_ntables
      from pgq.queue q
     where q.queue_name = i_queue_name;
    if not found then
        return 0;
    end if;
    for i in 0 .. v_ntables - 1 loop
        execute format('alter table %s set (fillfactor = 100, autovacuum_enabled = off, toast.autovacuum_enabled = off)',
                       pgq.quote_fqname(v_prefix || '_' || i));
    end loop;
    return 1;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
