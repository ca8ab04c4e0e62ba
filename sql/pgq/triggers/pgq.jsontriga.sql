create or replace function pgq.jsontriga()
returns trigger as $$
-- pgq.jsontriga(0): logs whole rows as JSON objects, ev_type is an object too.
-- Arguments of the trigger:
--      QUEUE                   an existing queue
--      ignore=c1,c2            columns that are not logged, nor an update of them alone
--      pkey=c1,c2              key columns, instead of the primary key
--      backup                  ev_extra2 of an UPDATE gets the old row
--      deny                    refuses every change
--      SKIP                    BEFORE only: logs the change instead of doing it
--      ev_type=SQL .. ev_extra4=SQL      replaces a field of the event; columns are those of the new row,
--                              or of the deleted one
--      when=SQL                false: no event
-- Returns:  in a BEFORE trigger the row, or null with SKIP
-- Raises:   "pgq trigger must have destination queue as argument"; "bad param to pgq trigger"; "primary key
--           update not allowed"; "Update/Delete on table without pkey"; what an expression raises;
--           insufficient_privilege if the writer may not insert events
-- Changes:  the queue; nothing while session_replication_role is local
-- Used by:  triggers on tables of users
declare
    v_skip  boolean := false;
begin
    if pg_catalog.current_setting('session_replication_role') operator(pg_catalog.<>) 'local' then
        -- Its parts are granted with it, to pgq_writer.
        if not pg_catalog.has_function_privilege('pgq.jsontriga()'::pg_catalog.regprocedure, 'execute') then
            raise exception 'permission denied for function insert_event'
                using errcode = 'insufficient_privilege',
                      hint = pg_catalog.format('To let %I write to captured tables: grant pgq_writer to %I',
                                               current_user, current_user);
        end if;
        if tg_level operator(pg_catalog.=) 'STATEMENT' then
            perform pgq._capture_truncate('json', tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name,
                                          tg_argv);
            return null;
        end if;
        if tg_op operator(pg_catalog.=) 'INSERT' then
            v_skip := pgq_gen.dispatch('json', tg_relid, tg_name, tg_op, tg_argv, new, new);
            if v_skip is null then
                v_skip := pgq._capture('json', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
                                       new, new);
            end if;
        elsif tg_op operator(pg_catalog.=) 'UPDATE' then
            if tg_when operator(pg_catalog.=) 'BEFORE' then
                new := pgq._keep_generated(tg_relid, new, old);
            end if;
            v_skip := pgq_gen.dispatch('json', tg_relid, tg_name, tg_op, tg_argv, new, old);
            if v_skip is null then
                v_skip := pgq._capture('json', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
                                       new, old);
            end if;
        else
            v_skip := pgq_gen.dispatch('json', tg_relid, tg_name, tg_op, tg_argv, old, old);
            if v_skip is null then
                v_skip := pgq._capture('json', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
                                       old, old);
            end if;
        end if;
    end if;

    if v_skip then
        return null;
    elsif tg_op operator(pg_catalog.=) 'DELETE' then
        return old;
    else
        return new;
    end if;
end;
-- Not security definer: arguments may hold SQL, which runs as the writer and in the writer's path.
$$ language plpgsql;
