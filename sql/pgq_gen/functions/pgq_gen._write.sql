create or replace function pgq_gen._write(
    i_table oid, i_trigger text, i_format text, i_level text, i_args text[])
returns text as $$
-- pgq_gen._write(5): generates the function of a capture, anew if it exists, and registers it.
-- Parameters:
--      i_table         table
--      i_trigger       name of the trigger, or what the names of statement triggers begin with
--      i_format        sql, urlenc or json; kinds for pgq.logtriga
--      i_level         row, statement or generic
--      i_args          arguments of the trigger
-- Returns:  name of the function, in pgq_gen
-- Raises:   as pgq_gen._function
-- Reads:    the definition of the table, pgq.queue
-- Changes:  pgq.capture, the function. Sessions take up the new one at their next call; no lock on the
--           table is needed
-- Locks:    pgq.capture in share row exclusive mode
-- Used by:  pgq.create_capture, pgq.refresh_captures
declare
    v_function  text;
    v_known     text[];
    v_queue_id  integer;
begin
    lock table pgq.capture in share row exclusive mode;
    select c.cap_function into v_function
      from pgq.capture c
     where c.cap_relid = i_table
       and c.cap_trigger = i_trigger;
    if not found then
        select format('%s_%s',
                      left(regexp_replace(lower(concat_ws('_', n.nspname, c.relname)), '[^a-z0-9_]', '', 'g'), 40),
                      left(md5(concat_ws('.', c.oid, i_trigger, i_level)), 12))
          into v_function
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where c.oid = i_table;
    end if;

    select q.queue_id into v_queue_id from pgq.queue q where q.queue_name = i_args[1];
    if to_regprocedure(format('pgq_gen.current_table_%s(text)', v_queue_id)) is null and v_queue_id is not null then
        -- A queue of an older version, which rotates before this or after it.
        perform from pgq.queue q where q.queue_id = v_queue_id for share;
        perform pgq_gen._write_current_table(v_queue_id);
    end if;
    perform pgq_gen._write_row_type(v_function, i_table, i_format, i_level, i_args);
    execute pgq_gen._function(v_function, case i_level when 'generic' then 'builder' else i_level end,
                              i_table, i_format, i_args);
    perform pgq_gen._grant(v_function, i_level);
    select coalesce(c.known, c.names) into v_known
      from pgq._known_columns(i_table, i_format, pgq_gen._argv(i_args)) c;
    insert into pgq.capture (cap_relid, cap_trigger, cap_function, cap_format, cap_level, cap_queue, cap_args,
                             cap_shape, cap_columns)
    values (i_table, i_trigger, v_function, i_format, i_level, i_args[1], i_args,
            pgq_gen._state(i_table, i_args[1]),
            array(select case when not a.attisdropped then v_known[a.place] end
                    from (select attnum, attisdropped,
                                 count(*) filter (where not attisdropped) over (order by attnum) as place
                            from pg_attribute
                           where attrelid = i_table
                             and attnum > 0) a
                   order by a.attnum))
        on conflict (cap_relid, cap_trigger) do update
       set cap_format = excluded.cap_format,
           cap_level = excluded.cap_level,
           cap_queue = excluded.cap_queue,
           cap_args = excluded.cap_args,
           cap_shape = excluded.cap_shape,
           cap_generated = excluded.cap_generated,
           cap_columns = excluded.cap_columns,
           cap_problem = null,
           cap_problem_since = null,
           cap_advice = null;
    if i_level = 'generic' then
        perform pgq_gen._write_dispatch();
    end if;
    return v_function;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
