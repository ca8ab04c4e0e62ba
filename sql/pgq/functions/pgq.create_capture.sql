create or replace function pgq.create_capture(
    i_table regclass, i_trigger_name text, i_format text, i_level text, i_args text[])
returns integer as $$
-- pgq.create_capture(5): logs the changes of a table into a queue, through triggers generated for it.
-- Parameters:
--      i_table             table
--      i_trigger_name      name of the trigger; triggers for statements get it with _insert, _update and
--                          _delete behind it, and one with _guard keeps them from missing what comes through
--                          a parent: it refuses one to an ordinary table, and captures the rows of a
--                          partitioned one
--      i_format            sql: parts of SQL statements, as of pgq.sqltriga; urlenc: rows of key=value pairs,
--                          as of pgq.logutriga; json: rows as JSON objects, as of pgq.jsontriga
--      i_level             row: a trigger for rows, always right and fast; statement: triggers for
--                          statements, faster for statements that change many rows and slower for single
--                          rows, with the limits of docs/pgq.md; generic: the trigger function of the format,
--                          helped by a generated one
--      i_args              name of the queue, then the arguments of pgq.sqltriga and, for generated triggers,
--                          key_updates=log, changes=text, settings=pinned, encoding=minimal,
--                          backup=changes
-- Returns:  1 if created, or changed from another capture of that name; 0 if it was there and up to date
-- Raises:   "No such queue"; "bad param to pgq trigger"; duplicate_object if a trigger of the name is no
--           capture; name_too_long if the server would cut it; feature_not_supported if statements of the
--           table cannot be captured; insufficient_privilege, with the grant that is missing
-- Reads:    pgq.queue, the definition of the table
-- Changes:  triggers of the table, with the rights of the caller; pgq.capture, functions in pgq_gen
-- Locks:    the table in share row exclusive mode: writers wait for the end of the transaction
-- Used by:  londiste provider add, users
declare
    c_events    constant text[] := '{insert,update,delete}';
    v_level     text := lower(i_level);
    v_longest   integer := current_setting('max_identifier_length')::integer
                           - case v_level when 'statement' then length('_insert') else 0 end;
    v_call      text;
    v_trigger   name;
    v_kind      "char" := (select c.relkind from pg_class c where c.oid = i_table);
begin
    if i_table is null or i_trigger_name is null or i_format is null or i_level is null or i_args[1] is null
       or array_position(i_args, null) is not null then
        raise exception 'Invalid NULL value';
    elsif i_format not in ('sql', 'urlenc', 'json') then
        raise exception 'unknown format of captures: %', i_format
            using errcode = 'invalid_parameter_value', hint = 'It is sql, urlenc or json.';
    elsif v_level not in ('row', 'statement', 'generic') then
        raise exception 'unknown level of captures: %', i_level
            using errcode = 'invalid_parameter_value', hint = 'It is row, statement or generic.';
    elsif octet_length(i_trigger_name) > v_longest then
        -- The server would cut it, and what comes behind it.
        raise exception 'name of a capture is too long: "%"', i_trigger_name
            using errcode = 'name_too_long',
                  hint = format('It may have %s bytes with level %s.', v_longest, v_level);
    end if;
    if v_level = 'statement' then
        perform pgq_gen._check_statement(i_table, i_format, i_args);
    end if;

    -- Waits for writers before it looks: a capture that is being created or dropped is seen.
    execute format('lock table only %s in share row exclusive mode', i_table);
    for v_trigger in
        select t.tgname
          from pg_trigger t
          join pg_proc p on p.oid = t.tgfoid
         where t.tgrelid = i_table
           and not t.tgisinternal
           and p.pronamespace not in ('pgq'::regnamespace, 'pgq_gen'::regnamespace)
           and (t.tgname = i_trigger_name
                or v_level = 'statement'
                   and t.tgname in (select i_trigger_name || '_' || e from unnest(c_events || 'guard'::text) e))
    loop
        raise exception 'trigger "%" of % is no capture', v_trigger, i_table using errcode = 'duplicate_object';
    end loop;
    if exists (select
                 from pgq.capture c
                where c.cap_relid = i_table
                  and c.cap_trigger = i_trigger_name
                  and c.cap_format = i_format
                  and c.cap_level = v_level
                  and c.cap_args = i_args
                  and pgq_gen._relation_of(c) = i_table)
       -- All its triggers, under their names, for all changes and in force.
       and (select count(*)
              from pg_trigger t
             where t.tgrelid = i_table
               and t.tgname in (select case v_level when 'statement' then i_trigger_name || '_' || e
                                                    else i_trigger_name end
                                  from unnest(c_events) e)
               and t.tgenabled in ('O', 'A')
               and t.tgqual is null
               and t.tgattr = ''
               -- INSERT, DELETE and UPDATE, or one of them
               and (v_level = 'statement' or t.tgtype & 28 = 28))
           = (case v_level when 'statement' then 3 else 1 end)
       and (v_level <> 'statement'
            or exists (select from pg_trigger t where t.tgrelid = i_table and t.tgname = i_trigger_name || '_guard')) then
        perform pgq.refresh_captures(i_table);
        return 0;
    end if;
    perform pgq.drop_capture(i_table, i_trigger_name);

    v_call := format('pgq_gen.%I', pgq_gen._write(i_table, i_trigger_name, i_format, v_level, i_args));
    if v_level = 'generic' then
        v_call := case i_format when 'sql' then 'pgq.sqltriga' when 'urlenc' then 'pgq.logutriga'
                                else 'pgq.jsontriga' end;
    end if;
    v_call := format('execute function %s(%s)', v_call,
                     (select string_agg(quote_literal(a.arg), ', ' order by a.place)
                        from unnest(i_args) with ordinality a (arg, place)));
    if v_level = 'statement' then
        for i in 1 .. 3 loop
            execute format('create trigger %I after %s on %s referencing %s for each statement %s',
                           i_trigger_name || '_' || c_events[i], c_events[i], i_table,
                           (array['new table as pgq_new', 'old table as pgq_old new table as pgq_new',
                                  'old table as pgq_old'])[i],
                           v_call);
        end loop;
        -- The server lets no table with such a trigger become a partition or an heir. Partitioned tables cannot have
        -- it; their condition is a constant to each statement.
        execute format(
            case v_kind when 'p'
                then 'create trigger %I after insert or update or delete on %s for each row'
                     ' when (pg_catalog.pg_partition_root(%2$L::pg_catalog.regclass)'
                     ' operator(pg_catalog.<>) %2$L::pg_catalog.regclass) %3$s'
                else 'create trigger %I after delete on %s referencing old table as pgq_old for each row when (false) %s'
            end, i_trigger_name || '_guard', i_table, v_call);
    else
        execute format('create trigger %I %s insert or update or delete on %s for each row %s',
                       i_trigger_name, case when 'SKIP' = any (i_args[2:]) then 'before' else 'after' end,
                       i_table, v_call);
    end if;
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
