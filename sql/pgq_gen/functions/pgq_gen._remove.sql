create or replace function pgq_gen._remove(i_table oid, i_trigger text)
returns void as $$
-- pgq_gen._remove(2): forgets a capture, and drops its function and types.
-- Parameters:
--      i_table, i_trigger      as for pgq_gen._write; the trigger is gone
-- Raises:   dependent_objects_still_exist while a trigger calls the function
-- Changes:  pgq.capture, the function, types of its rows
-- Locks:    pgq.capture in share row exclusive mode
-- Used by:  pgq.create_capture, pgq.drop_capture, pgq.refresh_captures
declare
    v_function  record;
    v_type      regtype;
begin
    lock table pgq.capture in share row exclusive mode;
    for v_function in
        select p.oid::regprocedure as call, c.cap_function as name
          from pgq.capture c
          join pg_proc p on p.pronamespace = 'pgq_gen'::regnamespace and p.proname = c.cap_function
         where c.cap_relid = i_table
           and c.cap_trigger = i_trigger
           and not exists (select
                             from pgq.capture o
                            where o.cap_function = c.cap_function
                              and (o.cap_relid, o.cap_trigger) <> (c.cap_relid, c.cap_trigger))
    loop
        execute format('drop function %s', v_function.call);
        for v_type in
            select t.type from pgq_gen._row_types(v_function.name) t
        loop
            execute format('drop type %s', v_type);
        end loop;
    end loop;
    delete from pgq.capture where cap_relid = i_table and cap_trigger = i_trigger;
    perform pgq_gen._write_dispatch();
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
