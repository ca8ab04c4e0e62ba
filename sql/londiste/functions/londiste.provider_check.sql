create or replace function londiste.provider_check(
    i_queue_name text, out table_name text, out problem text, out detail text)
returns setof record as $$
-- londiste.provider_check(1): registered tables whose changes are not captured as they should be.
-- Parameters:
--      i_queue_name    queue name
-- Returns:  a row per problem, in order of registration. problem is missing: the table or a trigger;
--           disabled: a trigger does not fire; stale: a trigger was made for another state of the table;
--           no key. detail says which
-- Reads:    londiste.provider_table, pgq.capture, triggers
-- Used by:  provider check
declare
    v_table     londiste.provider_table;
    v_oid       oid;
    v_columns   text;
    v_name      text;
    v_trigger   record;
begin
    for v_table in
        select * from londiste.provider_table t
         where t.queue_name = i_queue_name and t.trigger_name is not null
         order by t.nr
    loop
        table_name := v_table.table_name;
        select c.oid into v_oid
          from londiste.split_fqname(table_name) f
          join pg_namespace n on n.nspname = f.o_schema
          join pg_class c on c.relnamespace = n.oid and c.relname = f.o_name
         where c.relkind in ('r', 'p');
        if not found then
            problem := 'missing';
            detail := 'the table does not exist';
            return next;
            continue;
        end if;

        for v_name in
            select w.name from londiste.wanted_triggers(v_table) w
            except
            select t.tgname::text from pg_trigger t where t.tgrelid = v_oid and not t.tgisinternal
             order by 1
        loop
            problem := 'missing';
            detail := format('trigger %s does not exist', v_name);
            return next;
        end loop;
        for v_trigger in
            select t.tgname, t.tgenabled, p.proname, n.nspname, t.tgargs, t.tgnargs
              from londiste.wanted_triggers(v_table) w
              join pg_trigger t on t.tgname = w.name
              join pg_proc p on p.oid = t.tgfoid
              join pg_namespace n on n.oid = p.pronamespace
             where t.tgrelid = v_oid and not t.tgisinternal
             order by t.tgname
        loop
            if v_trigger.tgenabled not in ('O', 'A') then
                problem := 'disabled';
                detail := format('trigger %s is disabled%s', v_trigger.tgname,
                                 case v_trigger.tgenabled when 'R' then ' but for replicas' else '' end);
                return next;
            end if;
        end loop;

        begin
            v_columns := londiste.provider_column_types(i_queue_name, table_name);
        exception
            when undefined_object or wrong_object_type then
                problem := 'no key';
                detail := sqlerrm;
                return next;
                continue;
        end;
        if position('k' in v_columns) = 0 and not v_table.insert_only then
            problem := 'no key';
            detail := 'the table has no primary key any more';
            return next;
            continue;
        end if;
        detail := londiste.stale_trigger(v_table, v_oid, v_columns);
        if detail is not null then
            problem := 'stale';
            return next;
        end if;
    end loop;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pg_temp;
