-- Cooperative consumers are consumers.
do $$
declare
    v_function  record;
begin
    for v_function in
        select p.oid::regprocedure::text as signature,
               case when p.proname = 'version' then 'public'
                    when not starts_with(p.proname, '_') then 'pgq_reader'
               end as grantee
          from pg_proc p
         where p.pronamespace = 'pgq_coop'::regnamespace
           and pg_has_role(p.proowner, 'usage')
    loop
        execute 'revoke all on function ' || v_function.signature || ' from public';
        if v_function.grantee is not null then
            execute 'grant execute on function ' || v_function.signature || ' to ' || v_function.grantee;
        end if;
    end loop;
end
$$;
