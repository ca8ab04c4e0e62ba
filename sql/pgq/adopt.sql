-- Takes PgQ out of the extensions pgq, pgq_coop and pgq_ext, whoever made them: every object becomes an
-- ordinary one and stays as it is, with all data; then the empty extensions are dropped. To be followed by an
-- upgrade.
do $$
declare
    v_names     constant text[] := array['pgq_coop', 'pgq_ext', 'pgq'];
    v_others    text;
    v_extension record;
    v_object    record;
begin
    select string_agg(o.extname, ', ' order by o.extname)
      into v_others
      from pg_extension o
     where o.extname <> all (v_names)
       and exists (select
                     from pg_depend d
                     join pg_extension e on e.oid = d.refobjid
                    where d.classid = 'pg_extension'::regclass
                      and d.objid = o.oid
                      and d.refclassid = 'pg_extension'::regclass
                      and e.extname = any (v_names));
    if v_others is not null then
        raise exception 'other extensions need the extension pgq: %', v_others
            using errcode = 'dependent_objects_still_exist',
                  hint = 'They work with the extension alone. Drop them first, or keep PgQ as it is.';
    end if;

    for v_extension in
        select e.oid, e.extname, e.extversion
          from pg_extension e
         where e.extname = any (v_names)
         order by array_position(v_names, e.extname::text)
    loop
        raise notice 'dissolving the extension % %', v_extension.extname, v_extension.extversion;
        for v_object in
            select o.type, o.identity, d.deptype = 'e' as member
              from pg_depend d
             cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) o
             where d.refclassid = 'pg_extension'::regclass
               and d.refobjid = v_extension.oid
               -- Those of the second kind go with the extension if they may not stay.
               and d.deptype in ('e', 'x')
               -- Types of tables and of arrays go with theirs.
               and not exists (select
                                 from pg_type t
                                 left join pg_class c on c.oid = t.typrelid
                                where d.classid = 'pg_type'::regclass
                                  and t.oid = d.objid
                                  and (c.relkind <> 'c' or exists (select from pg_type a where a.typarray = t.oid)))
        loop
            if v_object.member then
                execute format('alter extension %I drop %s %s', v_extension.extname, v_object.type, v_object.identity);
            else
                execute format('alter %s %s no depends on extension %I',
                               v_object.type, v_object.identity, v_extension.extname);
            end if;
        end loop;
        execute format('drop extension %I', v_extension.extname);
    end loop;
end
$$;
