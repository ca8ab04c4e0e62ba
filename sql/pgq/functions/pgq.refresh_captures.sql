create or replace function pgq.refresh_captures(i_table regclass)
returns integer as $$
-- pgq.refresh_captures(1): brings the generated functions of captures up to date with their tables and
-- queues. Until then captures log in the slow way, which misses nothing.
-- Parameters:
--      i_table      table; null: all
-- Returns:  0
-- Raises:   nothing for a capture that cannot be generated: a warning, and it goes on in the slow way;
--           pgq.get_problems tells of it
-- Reads:    the definitions of the tables, triggers
-- Changes:  pgq.capture, functions in pgq_gen: what is stale is generated anew, what no trigger calls any
--           more is dropped, and hand-made triggers of the generic functions get a function to help them
-- Locks:    the table in access share mode; pgq.capture in share row exclusive mode
-- Used by:  maintenance, pgq.create_capture, whoever changes the definition of a captured table: call it in
--           the same transaction
declare
    v_capture   record;
    v_has_table boolean := false;
    v_generator text;
    -- What is wrong with which capture: a later finding says more.
    v_tables    oid[];
    v_triggers  text[];
    v_problems  text[];
    v_advices   text[];
    v_advice    text;
begin
    -- The table before the registry, as pgq.create_capture and pgq.drop_capture do; but not the table while the
    -- registry is waited for: a transaction that has created a capture may want to drop it.
    loop
        begin
            perform pgq_gen.shape(i_table);
            v_has_table := true;
            lock table pgq.capture in share row exclusive mode nowait;
            exit;
        exception
            when lock_not_available then
                if not v_has_table then
                    raise;
                end if;
        end;
        begin
            lock table pgq.capture in share row exclusive mode;
            raise exception 'it is free' using errcode = 'triggered_action_exception';
        exception
            when triggered_action_exception then
                null;
        end;
    end loop;
    v_generator := pgq_gen._generator();
    -- Sorted, so that all rows are gone before the first comes back under the oid of another.
    with moved as (
        delete from pgq.capture c
         using (select x.cap_relid, x.cap_trigger, pgq_gen._relation_of(x) as relation from pgq.capture x) r
         where c.cap_relid = r.cap_relid
           and c.cap_trigger = r.cap_trigger
           and c.cap_relid <> r.relation
     returning r.relation, c.*
    )
    -- A dump leaves out dropped columns, and the others are counted anew.
    insert into pgq.capture
    select m.relation, m.cap_trigger, m.cap_function, m.cap_format, m.cap_level, m.cap_queue, m.cap_args,
           m.cap_shape, m.cap_generated,
           case when cardinality(array_remove(m.cap_columns, null)) = cardinality(t.names)
                then array_remove(m.cap_columns, null)
                else t.names end
      from moved m
      cross join pgq._table_columns(m.relation) t
     order by m.relation;
    for v_capture in
        select c.*, pgq_gen._relation_of(c) as relation
          from pgq.capture c
         where i_table is null
            or c.cap_relid = i_table
         order by c.cap_relid, c.cap_trigger
    loop
        begin
            if v_capture.relation is null then
                perform pgq_gen._remove(v_capture.cap_relid, v_capture.cap_trigger);
            elsif v_capture.cap_shape <> pgq_gen._state(v_capture.cap_relid, v_capture.cap_queue, v_generator) then
                perform pgq_gen._write(v_capture.cap_relid, v_capture.cap_trigger, v_capture.cap_format,
                                       v_capture.cap_level, v_capture.cap_args);
            elsif v_capture.cap_level = 'generic' then
                perform pgq_gen._grant(v_capture.cap_function, v_capture.cap_level);
            end if;
        exception
            when lock_not_available or deadlock_detected then
                -- The table is being changed: the next time.
                v_tables := v_tables || v_capture.cap_relid;
                v_triggers := v_triggers || v_capture.cap_trigger::text;
                v_problems := v_problems || v_capture.cap_problem;
                v_advices := v_advices || v_capture.cap_advice;
            when others then
                raise warning 'capture % of %: %', v_capture.cap_trigger, v_capture.cap_relid::regclass, sqlerrm;
                v_tables := v_tables || v_capture.cap_relid;
                v_triggers := v_triggers || v_capture.cap_trigger::text;
                v_problems := v_problems
                    || format('it cannot be generated anew, and logs in the slow way: %s', sqlerrm);
                v_advices := v_advices
                    || format('mend that; then: select pgq.refresh_captures(%L)', v_capture.cap_relid::regclass);
        end;
    end loop;

    for v_capture in
        select c.cap_relid, c.cap_trigger, c.cap_format, c.cap_args
          from pgq.capture c
         where c.cap_level = 'statement'
           and (i_table is null or c.cap_relid = i_table)
    loop
        begin
            perform pgq_gen._check_statement(v_capture.cap_relid, v_capture.cap_format, v_capture.cap_args);
        exception
            when others then
                raise warning 'capture % of %: %', v_capture.cap_trigger, v_capture.cap_relid::regclass, sqlerrm
                    using hint = 'The table has changed; capture rows instead.';
                get stacked diagnostics v_advice = pg_exception_hint;
                v_tables := v_tables || v_capture.cap_relid;
                v_triggers := v_triggers || v_capture.cap_trigger::text;
                v_problems := v_problems || sqlerrm;
                v_advices := v_advices
                    || format('%s: select pgq.create_capture(%L, %L, %L, ''row'', %L)', v_advice,
                              v_capture.cap_relid::regclass, v_capture.cap_trigger, v_capture.cap_format,
                              v_capture.cap_args);
        end;
    end loop;

    for v_capture in
        select c.cap_relid, c.cap_trigger, c.cap_format, c.cap_level, c.cap_args, btrim(k.name) as name
          from pgq.capture c
          cross join lateral (select substr(a.arg, length('pkey=') + 1) as keys
                                from unnest(c.cap_args[2:]) with ordinality a (arg, place)
                               where starts_with(a.arg, 'pkey=')
                               order by a.place desc
                               limit 1) o
          cross join lateral pgq._known_columns(c.cap_relid, c.cap_format, pgq_gen._argv(c.cap_args)) t
          cross join lateral unnest(string_to_array(o.keys, ',')) k (name)
         where (i_table is null or c.cap_relid = i_table)
           and btrim(k.name) <> all (t.known)
           and btrim(o.keys) <> ''
    loop
        raise warning 'capture % of %: pkey= names "%", which was dropped', v_capture.cap_trigger,
            v_capture.cap_relid::regclass, v_capture.name
            using hint = 'The primary key is used; create the capture again with the right key.';
        v_tables := v_tables || v_capture.cap_relid;
        v_triggers := v_triggers || v_capture.cap_trigger::text;
        v_problems := v_problems
            || format('pkey= names "%s", which was dropped: the primary key is used', v_capture.name);
        v_advices := v_advices
            || format('create it again with the right key: select pgq.create_capture(%L, %L, %L, %L, %L)',
                      v_capture.cap_relid::regclass, v_capture.cap_trigger, v_capture.cap_format, v_capture.cap_level,
                      v_capture.cap_args);
    end loop;

    update pgq.capture c
       set cap_problem = p.problem,
           cap_advice = p.advice,
           cap_problem_since = case when p.problem is not null then coalesce(c.cap_problem_since, now()) end
      from pgq.capture s
      left join (select distinct on (f.relid, f.trigger) f.relid, f.trigger, f.problem, f.advice
                   from unnest(v_tables, v_triggers, v_problems, v_advices)
                        with ordinality f (relid, trigger, problem, advice, place)
                  order by f.relid, f.trigger, f.place desc) p
        on p.relid = s.cap_relid
       and p.trigger = s.cap_trigger
     where c.cap_relid = s.cap_relid
       and c.cap_trigger = s.cap_trigger
       and (i_table is null or c.cap_relid = i_table)
       and (c.cap_problem, c.cap_advice) is distinct from (p.problem, p.advice);

    for v_capture in
        select t.tgrelid, t.tgname::text as name, pgq_gen._format_of(p.proname) as format,
               pgq_gen._trigger_args(t.tgargs, t.tgnargs) as args
          from pg_trigger t
          join pg_proc p on p.oid = t.tgfoid
         where p.pronamespace = 'pgq'::regnamespace
           and pgq_gen._format_of(p.proname) is not null
           -- FOR EACH ROW
           and t.tgtype & 1 = 1
           and not t.tgisinternal
           -- SKIP in a trigger that is not BEFORE is an error, which the slow way raises.
           and (t.tgtype & 2 = 2 or 'SKIP' <> all (pgq_gen._trigger_args(t.tgargs, t.tgnargs)))
           and (i_table is null or t.tgrelid = i_table)
           and not exists (select from pgq.capture c where c.cap_relid = t.tgrelid and c.cap_trigger = t.tgname)
    loop
        begin
            perform pgq_gen._write(v_capture.tgrelid, v_capture.name, v_capture.format, 'generic', v_capture.args);
        exception
            when lock_not_available then
                continue;
            when others then
                raise warning 'trigger % of %: %', v_capture.name, v_capture.tgrelid::regclass, sqlerrm;
        end;
    end loop;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.refresh_captures()
returns integer as $$
-- pgq.refresh_captures(0): brings the generated functions of all captures up to date, and those that insert
-- events and know the current tables of queues.
-- Returns:  0
-- Reads:    as pgq.refresh_captures(1)
-- Changes:  as pgq.refresh_captures(1)
-- Locks:    as pgq.refresh_captures(1); rows of pgq.queue, if a function is not up to date. It waits for nobody:
--           tables that are being changed keep for the next time, so that it cannot lock up with who changes
--           them and calls the other form
-- Used by:  pgq.maint_operations
begin
    perform pgq_gen._write_insert_event();
    perform pgq_gen._write_current_tables();
    return pgq.refresh_captures(null);
exception
    when lock_not_available then
        return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp set lock_timeout = '100ms';
