-- The tables are for the functions alone; who writes to the target may say how far it got.
do $$
declare
    v_function  record;
begin
    for v_function in
        select p.oid::regprocedure::text as signature, p.proname = 'version' as harmless
          from pg_proc p
         where p.pronamespace = 'pgq_ext'::regnamespace
           and pg_has_role(p.proowner, 'usage')
    loop
        execute 'revoke all on function ' || v_function.signature || ' from public';
        execute 'grant execute on function ' || v_function.signature || ' to '
                || case when v_function.harmless then 'public' else 'pgq_writer' end;
    end loop;
end
$$;
