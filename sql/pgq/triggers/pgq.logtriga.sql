create or replace function pgq.logtriga()
returns trigger as $$
-- pgq.logtriga(0): logs changes as parts of SQL statements, with the arguments of version 2.
-- Arguments of the trigger:
--      QUEUE           an existing queue
--      KINDS           a letter per live column: k key, i ignored, other data; a column without a letter
--                      is ignored. A change of the key is logged as new values where old ones
--      NAME            not used: ev_extra1 is the name that the table has
-- Returns:  null or the row, which an AFTER trigger does not use
-- Raises:   "pgq.logtriga must be fired AFTER"; "pgq.logtriga must be used with 2 or 3 args"; "need at least
--           one key column"; insufficient_privilege if the writer may not insert events
-- Changes:  the queue; nothing while session_replication_role is local
-- Used by:  triggers on tables of users
declare
    v_skip  boolean := false;
begin
    if pg_catalog.current_setting('session_replication_role') operator(pg_catalog.<>) 'local' then
        -- Its parts are granted with it, to pgq_writer.
        if not pg_catalog.has_function_privilege('pgq.logtriga()'::pg_catalog.regprocedure, 'execute') then
            raise exception 'permission denied for function insert_event'
                using errcode = 'insufficient_privilege',
                      hint = pg_catalog.format('To let %I write to captured tables: grant pgq_writer to %I',
                                               current_user, current_user);
        end if;
        if tg_when operator(pg_catalog.<>) 'AFTER' then
            raise exception 'pgq.logtriga must be fired AFTER';
        end if;
        if tg_level operator(pg_catalog.=) 'STATEMENT' then
            perform pgq._capture_truncate('kinds', tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name,
                                          tg_argv);
            return null;
        end if;
        if tg_op operator(pg_catalog.=) 'INSERT' then
            v_skip := pgq_gen.dispatch('kinds', tg_relid, tg_name, tg_op, tg_argv, new, new);
            if v_skip is null then
                v_skip := pgq._capture('kinds', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
                                       new, new);
            end if;
        elsif tg_op operator(pg_catalog.=) 'UPDATE' then
            v_skip := pgq_gen.dispatch('kinds', tg_relid, tg_name, tg_op, tg_argv, new, old);
            if v_skip is null then
                v_skip := pgq._capture('kinds', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
                                       new, old);
            end if;
        else
            v_skip := pgq_gen.dispatch('kinds', tg_relid, tg_name, tg_op, tg_argv, old, old);
            if v_skip is null then
                v_skip := pgq._capture('kinds', false, tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv,
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
-- Not security definer, as no trigger function is: it runs in the writer's path, so names are qualified.
$$ language plpgsql;
