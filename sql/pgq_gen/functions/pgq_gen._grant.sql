create or replace function pgq_gen._grant(i_function text, i_level text)
returns void as $$
-- pgq_gen._grant(2): lets those use the function of a capture who may, and nobody else.
-- Parameters:
--      i_function      its name, in pgq_gen
--      i_level         row and statement: whoever attaches captures; generic: whoever may insert events,
--                      because a generic trigger calls it as the writer
-- Reads:    the privileges of pgq.insert_event
-- Changes:  the privileges of the function, if they are others: each change has all sessions compile it again
-- Used by:  pgq_gen._write, pgq.refresh_captures
declare
    v_function  regprocedure;
    v_role      record;
begin
    select p.oid into strict v_function
      from pg_proc p
     where p.pronamespace = 'pgq_gen'::regnamespace
       and p.proname = i_function;
    for v_role in
        with wanted as (
            select 'pgq_admin'::regrole::oid as grantee
             where i_level <> 'generic'
             union
            select x.grantee
              from pg_proc p
              cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
             where p.oid = 'pgq.insert_event(text, text, text, text, text, text, text)'::regprocedure
               and i_level = 'generic'
        ), found as (
            select x.grantee
              from pg_proc p
              cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
             where p.oid = v_function
        )
        select w.grantee is not null as is_wanted,
               case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as name
          from wanted w
          full join found f using (grantee)
         where (w.grantee is null or f.grantee is null)
           and grantee <> (select p.proowner from pg_proc p where p.oid = v_function)
    loop
        execute format(case when v_role.is_wanted then 'grant execute on function %s to %s'
                            else 'revoke execute on function %s from %s' end, v_function, v_role.name);
    end loop;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
