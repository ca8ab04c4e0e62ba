create or replace function pgq_gen._insert_code(i_queue pgq.queue, i_fields text[], i_source text, i_slow text)
returns text as $$
-- pgq_gen._insert_code(4): writes the statements that put events into the queue's current table.
-- Parameters:
--      i_queue       row of pgq.queue
--      i_fields      expressions for ev_type, ev_data and ev_extra1 to ev_extra4; null: none
--      i_source      sub-select of the events, whose columns the expressions name; null: there is one event
--      i_slow        statements for when the queue has just begun to need more than an INSERT; null: the number of
--                    the table is in v_table already
-- Returns:  PL/pgSQL. A statement per table keeps plans: building one each time would cost more than all the rest
-- Used by:  pgq_gen._function, pgq_gen._row_code, pgq_gen._statement_code
declare
    v_sequence  text := format('pg_catalog.nextval(%L::pg_catalog.regclass)', pgq.quote_fqname(i_queue.queue_event_seq));
    v_number    text := 'v_table';
    v_columns   text;
    v_values    text;
    v_code      text := '';
begin
    select string_agg(f.name, ', ' order by f.place), string_agg(f.value, ', ' order by f.place)
      into v_columns, v_values
      from unnest(array['ev_type', 'ev_data', 'ev_extra1', 'ev_extra2', 'ev_extra3', 'ev_extra4'], i_fields)
           with ordinality f (name, value, place)
     where f.value is not null;
    if i_slow is not null then
        -- The transaction has its id by now, and asking the sequence for the first time in it takes up what others
        -- have committed since. So the plans know of each rotation that was complete when it got the id: what it
        -- writes to another table was begun before that, and batches look for it there.
        v_code := format(E'    v_id := %s;\n', v_sequence);
        v_sequence := 'v_id';
        v_number := format('pgq_gen.current_table_%s(%L)', i_queue.queue_id, i_queue.queue_name);
    end if;
    for i in 0 .. i_queue.queue_ntables - 1 loop
        v_code := v_code || format(
            E'    %s\n'
            '        insert into %s (ev_id, ev_time, %s)\n'
            '        %s;\n',
            case when i = i_queue.queue_ntables - 1 and i_slow is null then 'else'
                 else format('%s %s operator(pg_catalog.=) %s then', case i when 0 then 'if' else 'elsif' end, v_number, i) end,
            pgq.quote_fqname(i_queue.queue_data_pfx || '_' || i),
            v_columns,
            format(case when i_source is null then 'values (%s, current_timestamp, %s)'
                        else E'select %s, current_timestamp, %s\n          from %s' end,
                   v_sequence, v_values, i_source));
    end loop;
    return v_code || coalesce(E'    else\n        ' || i_slow || E'\n', '') || E'    end if;\n';
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
