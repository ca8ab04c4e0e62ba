-- Drops every queue with its events, and the triggers that feed them. Roles stay.
do $$
declare
    v_trigger   record;
begin
    for v_trigger in
        select t.tgrelid::regclass as name, t.tgname
          from pg_trigger t
          join pg_proc p on p.oid = t.tgfoid
          join pg_class c on c.oid = t.tgrelid
         where p.pronamespace in (to_regnamespace('pgq'), to_regnamespace('pgq_gen'))
           and c.relnamespace <> p.pronamespace
           and not t.tgisinternal
         order by 1, 2
    loop
        raise notice 'dropping trigger % on %', v_trigger.tgname, v_trigger.name;
    end loop;
end
$$;

drop schema if exists pgq, pgq_gen cascade;
