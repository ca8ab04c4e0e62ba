-- Dumps hold the rows of the tables, and where the sequences stand: ids are never given out twice.
do $$
declare
    v_relation  record;
begin
    for v_relation in
        select c.oid::regclass as name
          from pg_depend d
          join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
          join pg_class c on c.oid = d.objid and d.classid = 'pg_class'::regclass
         where d.deptype = 'e'
           and e.extname = '@extension@'
           and c.relkind in ('r', 'S')
         order by c.oid
    loop
        perform pg_extension_config_dump(v_relation.name, '');
    end loop;
end
$$;
