-- Removes what an older version wrote code with. What generated code calls stays, for functions that are not
-- generated anew yet.
do $$
declare
    v_function  regprocedure;
begin
    for v_function in
        select p.oid
          from pg_proc p
         where p.pronamespace = 'pgq_gen'::regnamespace
           and p.proname like E'\\_%'
           -- Not replaced since the first function of install.sql was.
           and age(p.xmin) > (select age(f.xmin) from pg_proc f where f.oid = 'pgq_gen.shape(oid)'::regprocedure)
           and pg_has_role(p.proowner, 'usage')
           -- Members of an extension; and what others made depend on it.
           and not exists (select from pg_depend d
                            where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
           and not exists (select from pg_depend d
                            where d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid)
    loop
        execute format('drop function %s', v_function);
    end loop;
end
$$;
