-- Who may do what. pgq_reader consumes, pgq_writer produces, pgq_admin runs queues; everybody may look
-- at the state, or, where that was chosen, use everything: see newgrants.sql and oldgrants.sql. Queues copy
-- the privileges of pgq.event_template when they are created.
do $$
declare
    -- Everybody may both produce and read: the sign of the old model.
    v_open      boolean := has_table_privilege('public', 'pgq.event_template', 'select')
        and has_function_privilege('public', 'pgq.insert_event(text, text, text, text, text, text, text)', 'execute');
    v_function  record;
begin
    if v_open then
        return;
    end if;
    -- What another extension or an administrator put into the schema stays as it is.
    for v_function in
        select p.oid::regprocedure::text as signature
          from pg_proc p
          join pg_roles r on r.oid = p.proowner
         where p.pronamespace = 'pgq'::regnamespace
           and pg_has_role(r.oid, 'usage')
           and not exists (select
                             from pg_depend d
                             join pg_extension e on e.oid = d.refobjid
                            where d.classid = 'pg_proc'::regclass
                              and d.objid = p.oid
                              and d.deptype = 'e'
                              and e.extname <> 'pgq')
    loop
        execute 'revoke all on function ' || v_function.signature || ' from public';
    end loop;
end
$$;

grant execute on function
    pgq.quote_fqname(text),
    pgq.seq_getval(text),
    pgq.version(),
    pgq.get_queue_info(),
    pgq.get_queue_info(text),
    pgq.get_consumer_info(),
    pgq.get_consumer_info(text),
    pgq.get_consumer_info(text, text),
    pgq.get_queue_health(),
    pgq.get_queue_health(text),
    pgq.get_consumer_health(),
    pgq.get_consumer_health(text, text),
    pgq.get_problems(),
    pgq.get_problems(text)
to public;

grant execute on function
    pgq.register_consumer(text, text),
    pgq.register_consumer(text, text, bigint),
    pgq.register_consumer_at(text, text, bigint),
    pgq.unregister_consumer(text, text),
    pgq.next_batch(text, text),
    pgq.next_batch_info(text, text),
    pgq.next_batch_custom(text, text, interval, integer, interval),
    pgq.find_tick_helper(integer, bigint, timestamptz, bigint, bigint, interval),
    pgq.get_batch_events(bigint),
    pgq.get_batch_cursor(bigint, text, integer),
    pgq.get_batch_cursor(bigint, text, integer, text),
    pgq.batch_event_sql(bigint),
    pgq.batch_event_tables(bigint),
    pgq._batch_place(bigint),
    pgq._batch_sql(bigint, bigint),
    pgq.finish_batch(bigint),
    pgq.event_retry(bigint, bigint, timestamptz),
    pgq.event_retry(bigint, bigint, integer),
    pgq.batch_retry(bigint, integer),
    pgq.event_failed(bigint, bigint, text),
    pgq.failed_event_list(text, text),
    pgq.failed_event_list(text, text, integer, integer),
    pgq.failed_event_count(text, text),
    pgq.failed_event_delete(text, text, bigint),
    pgq.failed_event_retry(text, text, bigint),
    pgq.failed_event_replay(text, text),
    pgq.failed_event_purge(text, text, interval),
    pgq.nack(bigint, bigint, interval, text),
    pgq.receive(text, text),
    pgq.receive(text, text, integer),
    pgq.receive_more(bigint, bigint, integer),
    pgq.ack(bigint),
    pgq.ack(bigint, bigint),
    pgq.get_batch_info(bigint),
    pgq.force_tick(text)
to pgq_reader;

grant execute on function
    pgq.insert_event(text, text, text),
    pgq.insert_event(text, text, text, text, text, text, text),
    pgq.insert_events(text, text, text[]),
    pgq.insert_events(text, text[], text[], text[], text[], text[], text[]),
    pgq.send(text, text),
    pgq.send(text, text, text),
    pgq.current_event_table(text),
    pgq.sqltriga(),
    pgq.logutriga(),
    pgq.jsontriga(),
    pgq.logtriga(),
    pgq._urlencode(text),
    pgq._in_column_list(text, text),
    pgq._has_equality(oid),
    pgq._text_decides(oid, oid, boolean),
    pgq._row_text(anyelement),
    pgq._keep_generated(oid, anyelement, anyelement),
    pgq._row_values(text),
    pgq._large_values(oid, anyelement, boolean),
    pgq._capture_options(text, boolean, text, text[]),
    pgq._table_columns(oid),
    pgq._row_columns(oid, anyelement, integer),
    pgq._column_name(oid, integer),
    pgq._known_names(oid, text, text[], text[]),
    pgq._known_columns(oid, text, text[]),
    pgq._capture_columns(record, text, text, text),
    pgq._capture_changes(text[], oid[], oid[], text[], text[], boolean, boolean[]),
    pgq._capture_wanted(text, boolean, boolean, boolean[], boolean[], boolean[]),
    pgq._capture_sql(text, text[], boolean[], boolean[], boolean[], text[], text[]),
    pgq._json_query(text[], oid[]),
    pgq._capture_row(text, text[], oid[], boolean[], text[], text[]),
    pgq._capture_type(text, text, text, text, text[], text),
    pgq._capture_expression(text, text[], text[]),
    pgq._capture_overrides(text[], text[], text[]),
    pgq._capture_evaluate(text, anyelement),
    pgq._capture(text, boolean, text, text, oid, text, text, text[], anyelement, anyelement),
    pgq._capture_truncate(text, text, text, oid, text, text, text[])
to pgq_writer;

grant execute on function
    pgq.create_queue(text),
    pgq.drop_queue(text),
    pgq.drop_queue(text, boolean),
    pgq.set_queue_config(text, text, text),
    pgq.grant_perms(text),
    pgq._grant_perms_from(text, text, text, text),
    pgq.tune_storage(text),
    pgq._count_events(text, integer, integer, bigint),
    pgq.insert_event_raw(text, bigint, timestamptz, integer, integer, text, text, text, text, text, text),
    pgq.event_retry_raw(text, text, timestamptz, bigint, timestamptz, integer, text, text, text, text, text, text),
    pgq.ticker(),
    pgq.ticker(text),
    pgq.ticker(text, bigint),
    pgq.ticker(text, bigint, timestamptz, bigint),
    pgq.create_capture(regclass, text, text, text, text[]),
    pgq.drop_capture(regclass, text),
    pgq.refresh_captures(),
    pgq.refresh_captures(regclass),
    pgq.maint_operations(),
    pgq.maint_retry_events(),
    pgq.maint_rotate_tables_step1(text),
    pgq.maint_rotate_tables_step2(),
    pgq.maint_tables_to_vacuum(),
    pgq._queue_health(text, boolean),
    pgq._rotation_blocker(integer),
    pgq._unaware_sessions(integer, bigint),
    pgq._snapshot_holders(),
    pgq.seq_setval(text, bigint),
    pgq.upgrade_schema()
to pgq_admin;

grant select on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq.capture to public, pgq_reader;
grant select on pgq.event_template, pgq.failed_queue to pgq_reader;

grant select, insert, update, delete
   on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq.retry_queue, pgq.failed_queue
   to pgq_admin;
grant select, insert, truncate on pgq.event_template to pgq_admin;

do $$
begin
    -- Lets a maintenance daemon vacuum tables that it does not own.
    if current_setting('server_version_num')::integer >= 170000 then
        grant maintain
           on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq.retry_queue, pgq.failed_queue,
              pgq.event_template
           to pgq_admin;
    end if;
end
$$;

do $$
declare
    v_open      boolean := has_table_privilege('public', 'pgq.event_template', 'select')
        and has_function_privilege('public', 'pgq.insert_event(text, text, text, text, text, text, text)', 'execute');
    v_function  record;
begin
    if v_open then
        raise notice 'everybody may use PgQ, as before; to make its roles decide: newgrants_pgq.sql';
        grant select on pgq.retry_queue, pgq.failed_queue to public;
        -- All that some role may call, but for what makes functions.
        for v_function in
            select p.oid::regprocedure::text as signature,
                   exists (select
                             from aclexplode(p.proacl) a
                            where a.grantee in
                                  (0, 'pgq_reader'::regrole, 'pgq_writer'::regrole, 'pgq_admin'::regrole))
                   and p.proname not in ('create_capture', 'drop_capture', 'refresh_captures') as open
              from pg_proc p
             where p.pronamespace = 'pgq'::regnamespace
               and pg_has_role(p.proowner, 'usage')
               and not exists (select
                                 from pg_depend d
                                 join pg_extension e on e.oid = d.refobjid
                                where d.classid = 'pg_proc'::regclass
                                  and d.objid = p.oid
                                  and d.deptype = 'e'
                                  and e.extname <> 'pgq')
        loop
            if v_function.open then
                execute 'grant execute on function ' || v_function.signature || ' to public';
            else
                execute 'revoke all on function ' || v_function.signature || ' from public';
            end if;
        end loop;
    end if;

    -- Queues of an older version have other privileges, and may lack their storage options.
    perform pgq.grant_perms(q.queue_name), pgq.tune_storage(q.queue_name)
       from pgq.queue q
      order by q.queue_id;
end
$$;

-- What generic triggers call as the writer follows pgq.insert_event.
do $$
begin
    perform pgq_gen._grant(f.name, 'generic')
       from (select 'dispatch' as name
             union all
             select 'dispatch_dynamically'
             union all
             select cap_function from pgq.capture where cap_level = 'generic') f;
end
$$;
