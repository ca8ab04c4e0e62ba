create or replace function pgq_gen._insert_code(i_queue pgq.queue, i_fields text[], i_source text)
returns text as $$
-- pgq_gen._insert_code(3): writes the statements that put events into the queue's current table.
-- Parameters:
--      i_queue       row of pgq.queue
--      i_fields      expressions for ev_type, ev_data and ev_extra1 to ev_extra4; null: none
--      i_source      sub-select of the events, whose columns the expressions name; null: there is one event
-- Returns:  PL/pgSQL that expects the number of the table in v_table. A statement per table keeps plans:
--           building one each time would cost more than all the rest
-- Used by:  pgq_gen._function
declare
    v_columns   text;
    v_values    text;
    v_code      text := '';
begin
    select string_agg(f.name, ', ' order by f.place), string_agg(f.value, ', ' order by f.place)
      into v_columns, v_values
      from unnest(array['ev_type', 'ev_data', 'ev_extra1', 'ev_extra2', 'ev_extra3', 'ev_extra4'], i_fields)
           with ordinality f (name, value, place)
     where f.value is not null;
    for i in 0 .. i_queue.queue_ntables - 1 loop
        v_code := v_code || format(
            E'    %s\n'
            '        insert into %s (ev_id, ev_time, %s)\n'
            '        %s;\n',
            case when i = 0 then format('if v_table operator(pg_catalog.=) %s then', i)
                 when i < i_queue.queue_ntables - 1 then format('elsif v_table operator(pg_catalog.=) %s then', i)
                 else 'else' end,
            pgq.quote_fqname(i_queue.queue_data_pfx || '_' || i),
            v_columns,
            case when i_source is null then format(
                     'values (pg_catalog.nextval(%L::pg_catalog.regclass), current_timestamp, %s)',
                     pgq.quote_fqname(i_queue.queue_event_seq), v_values)
                 else format(E'select pg_catalog.nextval(%L::pg_catalog.regclass), current_timestamp, %s\n          from %s',
                     pgq.quote_fqname(i_queue.queue_event_seq), v_values, i_source) end);
    end loop;
    return v_code || E'    end if;\n';
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
