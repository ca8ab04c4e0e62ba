-- Nobody may use PgQ without one of its roles.
revoke all on pgq.event_template, pgq.retry_queue, pgq.failed_queue from public;

do $$
declare
    v_table record;
begin
    -- Tables of the queues have the privileges that the template had when they were created.
    for v_table in
        with recursive event (relid) as (
            select i.inhrelid
              from pg_inherits i
             where i.inhparent = 'pgq.event_template'::regclass
             union all
            select i.inhrelid
              from event e
              join pg_inherits i on i.inhparent = e.relid
        )
        select e.relid::regclass as name
          from event e
          join pg_class c on c.oid = e.relid
         where exists (select from aclexplode(c.relacl) a where a.grantee = 0)
    loop
        execute format('revoke all on %s from public', v_table.name);
    end loop;
end
$$;
