create or replace function pgq_gen._function(
    i_function text, i_kind text, i_table oid, i_format text, i_args text[])
returns text as $$
-- pgq_gen._function(5): writes the function of a capture.
-- Parameters:
--      i_function      its name, in pgq_gen
--      i_kind          row: a trigger function FOR EACH ROW; statement: one for statements, with transition
--                      tables; builder: what a generic trigger calls for a row
--      i_table         captured table
--      i_format        sql, urlenc or json; for a builder also kinds
--      i_args          arguments of the trigger
-- Returns:  text of a CREATE FUNCTION
-- Raises:   as pgq._capture_options and pgq._capture_columns; "No such queue"
-- Reads:    pgq.queue, the definition of the table
-- Used by:  pgq_gen._write
declare
    c_pinned    constant text := E'\n   set datestyle = ''ISO, MDY'' set intervalstyle = ''postgres'''
                                 ' set timezone = ''UTC'' set extra_float_digits = 1'
                                 '\n   set bytea_output = ''hex'' set lc_monetary = ''C'' set xmlbinary = ''base64''';
    v_options   record;
    v_columns   record;
    v_queue     pgq.queue;
    v_schema    text;
    v_name      text;
    v_fields    text[];
    v_skip      text;
    v_leave     text;
    v_guard     text;
    v_iso_guard text;
    v_slow      text;
    v_slow_kinds    text[];
    v_keep      text;
    v_code      text;
    v_override  text := '';
    v_invoker   boolean;
    v_is_builder    boolean := i_kind = 'builder';
    -- Whether plans know the current table. A trigger BEFORE may run in a transaction that has no id yet.
    v_is_planned    boolean;
begin
    select o.*, 'backup=changes' = any (i_args[2:]) as backup_deletes, i_function as function into v_options
      from pgq._capture_options(
               i_format, not v_is_builder, case when 'SKIP' = any (i_args[2:]) then 'BEFORE' else 'AFTER' end,
               pgq_gen._argv(i_args)) o;
    select c.*, t.known into v_columns
      from pgq._known_columns(i_table, i_format, pgq_gen._argv(i_args)) t,
           pgq._capture_columns(t, v_options.ignored, v_options.keys, v_options.kinds) c;
    select * into v_queue from pgq.queue where queue_name = v_options.queue_name;
    if not found then
        raise exception 'No such queue' using detail = 'queue: ' || v_options.queue_name;
    end if;
    if i_kind = 'statement'
       and exists (select from pg_attribute a
                    where a.attrelid = i_table and a.attnum > 0 and not a.attisdropped
                      and (a.attgenerated = 'v' or starts_with(a.attname, '_pgq_'))) then
        -- Refused when the capture is created. The slow way can do with such columns when they come later.
        raise exception 'virtual columns and columns named _pgq_... need a trigger for rows'
            using errcode = 'feature_not_supported';
    end if;
    -- Triggers of a partitioned table run in its partitions, and events carry their names.
    select n.nspname, c.relname into v_schema, v_name
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.oid = i_table
       and (c.relkind <> 'p' or i_kind <> 'row');
    v_invoker := exists (select from pgq._capture_overrides(v_options.expressions, v_columns.names, v_columns.known) o
                          where o.query is not null);
    v_skip := case when v_is_builder then format('return %s;', v_options.skip::text) else 'return null;' end;

    -- What runs while the table is not what it was, or the queue is in an unusual state.
    v_slow := 'return null;';
    if i_kind = 'statement' then
        v_slow := pgq_gen._statement_slow_code(i_format, i_args);
    elsif not v_is_builder then
        select array_agg(format('v_skip := pgq._capture(%L, true, TG_OP, TG_WHEN, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME,'
                                ' %L, %s);', i_format, pgq_gen._argv(i_args), r.rows) order by r.place)
          into v_slow_kinds
          from unnest('{"NEW, OLD","NEW, NEW","OLD, OLD"}'::text[]) with ordinality r (rows, place);
        if v_options.skip then
            v_keep := E'NEW := pgq._keep_generated(TG_RELID, NEW, OLD);\n';
            v_slow_kinds[1] := v_keep || '            ' || v_slow_kinds[1];
        end if;
        v_slow := format(
            E'if TG_OP operator(pg_catalog.=) ''UPDATE'' then\n'
            '            %s\n'
            '        elsif TG_OP operator(pg_catalog.=) ''INSERT'' then\n'
            '            %s\n'
            '        else\n'
            '            %s\n'
            '        end if;\n'
            '        return null;', v_slow_kinds[1], v_slow_kinds[2], v_slow_kinds[3]);
    end if;

    if v_is_builder then
        -- Rows of another type would bring code of its owner along, a cast for example.
        v_guard := format(
            E'%L::pg_catalog.oid operator(pg_catalog.=) pg_catalog.pg_typeof(NEW)::pg_catalog.oid\n'
            '        and TG_ARGV operator(pg_catalog.=) %L::pg_catalog.text[]',
            (select c.reltype from pg_class c where c.oid = i_table), pgq_gen._argv(i_args));
    else
        -- Attached to another table, whose types are another's.
        v_guard := format(
            E'%L::pg_catalog.oid operator(pg_catalog.=) %s\n'
            '        and pg_catalog.current_setting(''session_replication_role'') operator(pg_catalog.<>) ''local''',
            case when v_name is null then pg_partition_root(i_table)::oid else i_table end,
            case when v_name is null then 'pg_catalog.pg_partition_root(TG_RELID)::pg_catalog.oid' else 'TG_RELID' end);
        v_leave := format(
            E'        if pg_catalog.current_setting(''session_replication_role'') operator(pg_catalog.=) ''local'' then\n'
            '            %s\n'
            '        end if;\n',
            case when not v_options.skip or i_kind = 'statement' then 'return null;'
                 else E'if TG_OP operator(pg_catalog.=) ''DELETE'' then\n'
                      '                return OLD;\n'
                      '            end if;\n'
                      '            return NEW;' end);
    end if;

    if 'timestamptz'::regtype = any (v_columns.types)
       and (v_options.format = 'urlenc' or v_options.format = 'sql' and (i_kind = 'statement' or v_options.backup))
       and not (v_options.format = 'sql' and v_options.pinned) then
        -- A writer may call his time zone anything, and styles but ISO write the name.
        v_iso_guard := E'\n        and pg_catalog.starts_with(pg_catalog.current_setting(''DateStyle''), ''ISO'')';
    end if;

    if v_options.deny then
        v_code := v_slow;
        if v_is_builder then
            v_code := '    return null;';
        end if;
    elsif i_kind = 'statement' then
        v_code := pgq_gen._statement_code(
                v_options, v_columns, v_queue, v_schema, v_name,
                exists (select from pg_class c where c.oid = i_table and c.relkind = 'p'))
            || '    return null;';
    else
        v_override := pgq_gen._override_code(v_options, v_columns, v_skip);
        v_fields := array['v_type', 'v_data',
                          case when v_override <> '' or v_name is null then 'v_extra1'
                               else quote_literal(concat(v_schema, '.', v_name)) end,
                          case when v_override <> '' or v_options.backup then 'v_extra2' end,
                          case when v_override <> '' then 'v_extra3' end,
                          case when v_override <> '' then 'v_extra4' end];
        v_is_planned := i_kind = 'row' and not v_options.skip and not v_invoker;
        v_code := concat(
            case when v_keep is not null and exists (select from pg_attribute a
                                                      where a.attrelid = i_table and a.attnum > 0 and a.attgenerated = 's')
                 then format(E'    if TG_OP operator(pg_catalog.=) ''UPDATE'' then\n        %s    end if;\n', v_keep) end,
            case when v_fields[3] <> 'v_extra1' then null
                 when v_name is null then
                     E'    v_extra1 := pg_catalog.concat(TG_TABLE_SCHEMA, ''.'', TG_TABLE_NAME);\n'
                 else format(E'    v_extra1 := %L;\n', concat(v_schema, '.', v_name)) end,
            pgq_gen._row_code(v_options, v_columns, v_schema, v_name, v_skip, v_queue,
                              case when v_is_planned and v_override = '' then v_fields end, v_slow_kinds),
            v_override,
            case when v_is_planned and v_override = '' then null
                 when v_invoker then format(
                     E'    v_id := pgq.insert_event(%L, v_type, v_data, v_extra1, v_extra2, v_extra3, v_extra4);\n',
                     v_options.queue_name)
                 else pgq_gen._insert_code(v_queue, v_fields, null, case when v_is_planned then v_slow end) end,
            -- What a trigger AFTER returns does not matter, and a record is not evaluated.
            '    ', case when v_is_planned then 'return NEW;' else v_skip end);
    end if;

    v_guard := format(
        E'%s is not null\n'
        '        and %s\n'
        -- The planner asks for the shape once per plan, and the oid makes the plan depend on the table.
        '        and pgq_gen.shape_ok(%L::pg_catalog.oid, %L)',
        case when v_is_planned then format('pgq_gen.current_table_%s(%L)', v_queue.queue_id, v_options.queue_name)
             else 'v_table' end,
        v_guard, i_table, pgq_gen.shape(i_table));
    v_code := concat(
        E'begin\n',
        case when i_kind = 'statement' then pgq_gen._guard_code(i_table, i_format, i_args) end,
        case when v_invoker then E'    perform pgq_gen.check_writer();\n' end,
        case when v_is_planned is not true then format(
            E'    select q.queue_cur_table into v_table\n'
            '      from pgq.queue q\n'
            '     where q.queue_id operator(pg_catalog.=) %s\n'
            '       and q.queue_name operator(pg_catalog.=) %L\n'
            '       and not q.queue_disable_insert\n'
            '       and q.queue_per_tx_limit is null;\n', v_queue.queue_id, v_options.queue_name) end,
        format(E'    if (%s%s) is not true then\n%s', v_guard, v_iso_guard, v_leave),
        -- A writer may call his time zone anything, and styles but ISO write the name.
        case when v_iso_guard is null then format(E'        %s\n', v_slow)
             else format(E'        if (%s\n'
                         '        and pg_catalog.current_setting(''TimeZone'') operator(pg_catalog.!~) ''[^A-Za-z0-9/_+<>-]'')'
                         ' is not true then\n'
                         '        %s\n'
                         '        end if;\n', v_guard, v_slow) end,
        E'    end if;\n',
        case when i_kind = 'statement' then pgq_gen._plain_code(v_code, false) end,
        v_code,
        E'\nend;\n');
    v_code := concat(
        E'\n',
        format(E'-- Captures %s for the queue %s. Generated: pgq.refresh_captures renews it.\n',
               -- A line end in a name would end the comment.
               regexp_replace(i_table::regclass::text, '[[:cntrl:]]', ' ', 'g'),
               regexp_replace(quote_ident(v_options.queue_name), '[[:cntrl:]]', ' ', 'g')),
        E'declare\n',
        (select string_agg(format(E'    %s pg_catalog.%s;\n', d.name, d.type), '' order by d.place)
           from unnest(array['v_table', 'v_type', 'v_data', 'v_extra1', 'v_extra2', 'v_extra3', 'v_extra4', 'v_value',
                             'v_kind', 'v_id', 'v_skip', 'v_pair', 'v_plain'],
                       array['int4', 'text', 'text', 'text', 'text', 'text', 'text', 'text collate pg_catalog."C"',
                             'oid', 'int8', 'bool', 'record', 'bool'])
                with ordinality d (name, type, place)
          where v_code ~ ('\m' || d.name || '\M')),
        v_code);
    return concat(
        format('create or replace function pgq_gen.%I', i_function),
        case when v_is_builder
             then '(TG_OP pg_catalog.text, TG_ARGV pg_catalog.text[], NEW anyelement, OLD anyelement) returns pg_catalog.bool'
             else '() returns trigger' end,
        ' as ', quote_literal(v_code), ' language plpgsql',
        case when not v_invoker then ' security definer' end,
        case when i_kind = 'statement'
             then E'\n   set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_nestloop = off'
                  -- What it is estimated to cost would have it compiled, again for every statement, a small one, too.
                  '\n   set jit = off' end,
        case when v_options.format <> 'sql' and v_options.pinned then c_pinned end);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
