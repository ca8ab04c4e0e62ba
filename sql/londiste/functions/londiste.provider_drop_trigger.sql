create or replace function londiste.provider_drop_trigger(i_table_name text, i_trigger_name text)
returns integer as $$
-- londiste.provider_drop_trigger(2): drops what captures the changes of a table for a queue.
-- Parameters:
--      i_table_name    a table; it need not exist any more
--      i_trigger_name  as londiste.provider_table stores it; an old version stored names that the server
--                      had cut whole
-- Returns:  1 if there was something to drop, else 0, with a notice
-- Changes:  triggers of the table, pgq.capture
-- Locks:    ACCESS EXCLUSIVE on the table
-- Used by:  provider_refresh_trigger, provider_remove_table
declare
    v_oid       oid;
    v_name      text := i_trigger_name::name::text;
    v_trigger   name;
    v_dropped   integer := 0;
begin
    select c.oid into v_oid
      from londiste.split_fqname(i_table_name) f
      join pg_namespace n on n.nspname = f.o_schema
      join pg_class c on c.relnamespace = n.oid and c.relname = f.o_name
     where c.relkind in ('r', 'p');
    if not found then
        raise notice 'table % does not exist any more', i_table_name;
        return 0;
    end if;

    -- A PgQ that has no captures has left triggers alone.
    if to_regprocedure('pgq.drop_capture(regclass, text)') is not null then
        v_dropped := pgq.drop_capture(v_oid::regclass, v_name);
    end if;
    for v_trigger in
        select t.tgname
          from pg_trigger t
         where t.tgrelid = v_oid
           and not t.tgisinternal
           and t.tgname in (v_name, londiste.truncate_trigger_name(v_name))
    loop
        execute format('drop trigger %I on %s', v_trigger, v_oid::regclass);
        v_dropped := 1;
    end loop;
    if v_dropped = 0 then
        raise notice 'trigger % does not exist on table %', v_name, i_table_name;
    end if;
    return v_dropped;
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
