-- The tables are for the functions alone, but for that of events that are put aside. Who writes to the target may
-- say how far it got, and put events aside: pgq_writer, or everybody where version 2 was. These events may hold
-- anything, so only pgq_admin may read and remove them.
do $$
declare
    v_open      boolean := exists (
        select
          from pg_proc p
         cross join lateral aclexplode(p.proacl) a
         where p.oid = 'pgq_ext.set_last_tick(text, bigint)'::regprocedure
           and a.grantee = 0);
    v_function  record;
begin
    for v_function in
        select p.oid::regprocedure::text as signature, p.proname = 'version' as harmless
          from pg_proc p
         where p.pronamespace = 'pgq_ext'::regnamespace
           and pg_has_role(p.proowner, 'usage')
    loop
        if not v_open then
            execute 'revoke all on function ' || v_function.signature || ' from public';
        end if;
        execute 'grant execute on function ' || v_function.signature || ' to pgq_writer'
                || case when v_function.harmless or v_open then ', public' else '' end;
    end loop;
    if pg_has_role((select relowner from pg_class where oid = 'pgq_ext.bad_event'::regclass), 'usage') then
        if not v_open then
            revoke all on pgq_ext.bad_event from public;
        end if;
        execute 'grant insert on pgq_ext.bad_event to pgq_writer' || case when v_open then ', public' else '' end;
        grant select, delete on pgq_ext.bad_event to pgq_admin;
    end if;
end
$$;
