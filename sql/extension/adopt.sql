-- Everything that is installed becomes a member: an extension may not replace what it does not own. What
-- belongs to queues and captured tables does not: they are data.
do $$
declare
    v_schemas   constant text[] := string_to_array('@schemas@', ', ');
    v_captures  text[] := '{}';
    v_object    record;
begin
    if to_regclass('pgq.capture') is not null then
        execute 'select array_agg(cap_function) from pgq.capture' into v_captures;
    end if;
    for v_object in
        with recursive event (relid) as (
            select i.inhrelid
              from pg_inherits i
             where i.inhparent = to_regclass('pgq.event_template')
             union all
            select i.inhrelid
              from event e
              join pg_inherits i on i.inhparent = e.relid
        ), schema (id, name) as (
            select n.oid, n.nspname
              from pg_namespace n
             where n.nspname = any (v_schemas)
        ), object (classid, objid, kind, place) as (
            select 'pg_namespace'::regclass, s.id, 'schema', 1
              from schema s
             union all
            select 'pg_class'::regclass, c.oid,
                   case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, 2
              from pg_class c
             where c.relnamespace in (select id from schema)
               and c.relkind in ('r', 'v')
               and c.oid not in (select relid from event)
             union all
            -- Sequences of columns; those of queues stand alone.
            select 'pg_class'::regclass, c.oid, 'sequence', 3
              from pg_class c
             where c.relnamespace in (select id from schema)
               and c.relkind = 'S'
               and c.relname !~ '^event_[0-9]+_(id|tick)_seq$'
             union all
            select 'pg_type'::regclass, t.oid, 'type', 4
              from pg_type t
              left join pg_class c on c.oid = t.typrelid
             where t.typnamespace in (select id from schema)
               and (c.relkind = 'c' or t.typtype in ('d', 'e'))
             union all
            select 'pg_proc'::regclass, p.oid, 'routine', 5
              from pg_proc p
              join schema s on s.id = p.pronamespace
             where s.name <> 'pgq_gen'
                or p.proname <> all (coalesce(v_captures, '{}')) and p.proname !~ '^current_table_[0-9]+$'
        )
        select o.kind, (pg_identify_object(o.classid, o.objid, 0)).identity
          from object o
         where not exists (select
                             from pg_depend d
                            where d.classid = o.classid
                              and d.objid = o.objid
                              and d.deptype = 'e')
         order by o.place, o.objid
    loop
        execute format('alter extension @extension@ add %s %s', v_object.kind, v_object.identity);
    end loop;
end
$$;
