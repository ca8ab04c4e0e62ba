create or replace function pgq.maint_operations(out func_name text, out func_arg text)
returns setof record as $$
-- pgq.maint_operations(0): what maintenance should do now, in order.
-- Returns:  one row per call, each for a transaction of its own. "vacuum" is the statement, run on the
--           table func_arg outside a transaction; any other name is a function that takes func_arg, or
--           nothing if that is null, and wants to be called again while it returns a number other
--           than 0. Functions of queue_extra_maint are left out, with a warning, if they belong to somebody who
--           is neither a superuser nor the owner of this function
-- Reads:    pgq.queue
-- Used by:  daemons
declare
    v_queue     record;
    v_switched  boolean := false;
begin
    func_name := 'pgq.maint_rotate_tables_step1';
    for func_arg in
        select q.queue_name
          from pgq.queue q
         where q.queue_rotation_period is not null
           and q.queue_switch_step2 is not null
           and (q.queue_switch_time + q.queue_rotation_period < current_timestamp
                or q.queue_switch_time > clock_timestamp())
         order by q.queue_name
    loop
        v_switched := true;
        return next;
    end loop;

    if v_switched or exists (select from pgq.queue where queue_switch_step2 is null) then
        func_name := 'pgq.maint_rotate_tables_step2';
        func_arg := null;
        return next;
    end if;

    for v_queue in
        select q.queue_name, q.queue_extra_maint
          from pgq.queue q
         where cardinality(q.queue_extra_maint) > 0
         order by q.queue_name
    loop
        func_arg := v_queue.queue_name;
        foreach func_name in array v_queue.queue_extra_maint loop
            -- Who may change the list shall not have the caller, a superuser at worst, run a function that
            -- he has made for that.
            if exists (select
                         from pg_proc p
                         join pg_namespace n on n.oid = p.pronamespace
                         join pg_roles o on o.oid = p.proowner
                        where pgq.quote_fqname(func_name) = format('%I.%I', n.nspname, p.proname)
                          and not o.rolsuper
                          and o.oid <> (select proowner from pg_proc
                                         where oid = 'pgq.maint_operations()'::regprocedure)) then
                raise warning 'maintenance function % of queue % belongs to another owner and is not called',
                    func_name, func_arg;
                continue;
            end if;
            return next;
        end loop;
    end loop;

    func_name := 'vacuum';
    for func_arg in select t from pgq.maint_tables_to_vacuum() t loop
        return next;
    end loop;

    -- What other schemas of the same database want done, where they are installed.
    if to_regprocedure('pgq_node.maint_watermark(text)') is not null then
        func_name := 'pgq_node.maint_watermark';
        for func_arg in
            execute 'select n.queue_name from pgq_node.node_info n where n.node_type = ''root'' order by 1'
        loop
            return next;
        end loop;
    end if;
    if to_regprocedure('londiste.root_check_seqs(text)') is not null then
        func_name := 'londiste.root_check_seqs';
        for func_arg in
            execute 'select distinct s.queue_name from londiste.seq_info s, pgq_node.node_info n'
                    ' where s.local and n.queue_name = s.queue_name and n.node_type = ''root'' order by 1'
        loop
            return next;
        end loop;
    end if;
    func_arg := null;
    if to_regprocedure('londiste.periodic_maintenance()') is not null then
        func_name := 'londiste.periodic_maintenance';
        return next;
    end if;
    if to_regprocedure('pgq.refresh_captures()') is not null then
        func_name := 'pgq.refresh_captures';
        return next;
    end if;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
