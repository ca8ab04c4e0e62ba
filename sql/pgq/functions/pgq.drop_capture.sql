create or replace function pgq.drop_capture(i_table regclass, i_trigger_name text)
returns integer as $$
-- pgq.drop_capture(2): ends the capture of a table's changes.
-- Parameters:
--      i_table             table
--      i_trigger_name      name of the capture, as given to pgq.create_capture, or of any trigger that calls a
--                          trigger function of pgq
-- Returns:  1 if dropped, 0 if there is no such capture
-- Changes:  triggers of the table, with the rights of the caller; pgq.capture, functions in pgq_gen
-- Locks:    the table in access exclusive mode if there is something to drop
-- Used by:  pgq.create_capture, londiste provider remove, users
declare
    v_trigger   name;
    v_found     boolean := false;
begin
    for v_trigger in
        select t.tgname
          from pg_trigger t
          join pg_proc p on p.oid = t.tgfoid
         where t.tgrelid = i_table
           and not t.tgisinternal
           and (p.pronamespace = 'pgq'::regnamespace and t.tgname = i_trigger_name
                or p.pronamespace = 'pgq_gen'::regnamespace
                   and p.proname in (select c.cap_function
                                       from pgq.capture c
                                      where c.cap_relid = i_table
                                        and c.cap_trigger = i_trigger_name))
    loop
        execute format('drop trigger %I on %s', v_trigger, i_table);
        v_found := true;
    end loop;
    if not v_found and not exists (select from pgq.capture c
                                    where c.cap_relid = i_table and c.cap_trigger = i_trigger_name) then
        return 0;
    end if;
    perform pgq_gen._remove(i_table, i_trigger_name);
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
