create or replace function pgq_gen._grant(i_function text, i_level text)
returns void as $$
-- pgq_gen._grant(2): lets those use the function of a capture who may.
-- Parameters:
--      i_function      its name, in pgq_gen
--      i_level         row and statement: whoever attaches captures; generic: whoever may insert events,
--                      because a generic trigger calls it as the writer
-- Reads:    the privileges of pgq.insert_event
-- Changes:  the privileges of the function
-- Used by:  pgq_gen._write, pgq.refresh_captures
declare
    v_function  regprocedure;
    v_role      text;
begin
    select p.oid into strict v_function
      from pg_proc p
     where p.pronamespace = 'pgq_gen'::regnamespace
       and p.proname = i_function;
    execute format('revoke all on function %s from public', v_function);
    if i_level <> 'generic' then
        execute format('grant execute on function %s to pgq_admin', v_function);
        return;
    end if;
    for v_role in
        select case when x.grantee = 0 then 'public' else quote_ident(r.rolname) end
          from pg_proc p
          cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
          left join pg_roles r on r.oid = x.grantee
         where p.oid = 'pgq.insert_event(text, text, text, text, text, text, text)'::regprocedure
           and x.grantee <> p.proowner
    loop
        execute format('grant execute on function %s to %s', v_function, v_role);
    end loop;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
