create or replace function pgq_gen._insert_event_code(i_queues integer[])
returns text as $$
-- pgq_gen._insert_event_code(1): writes the tree of conditions that finds the INSERT of a queue's current table.
-- Parameters:
--      i_queues      ids of queues, in order
-- Returns:  PL/pgSQL
-- Reads:    pgq.queue
-- Used by:  pgq_gen._write_insert_event
declare
    v_count     integer := cardinality(i_queues);
    v_queue     record;
    v_code      text := '';
begin
    if v_count > 1 then
        return format(E'    if i_queue operator(pg_catalog.<) %s then\n%s    else\n%s    end if;\n',
                      i_queues[v_count / 2 + 1],
                      pgq_gen._insert_event_code(i_queues[1:v_count / 2]),
                      pgq_gen._insert_event_code(i_queues[v_count / 2 + 1:]));
    end if;
    for v_queue in
        select q.queue_id, n.place,
               pgq.quote_fqname(q.queue_data_pfx || '_' || n.place) as name,
               pgq.quote_fqname(q.queue_event_seq) as sequence
          from pgq.queue q, generate_series(0, q.queue_ntables - 1) n (place)
         where q.queue_id = any (i_queues)
         order by n.place
    loop
        v_code := v_code || format(
            E'    if i_queue operator(pg_catalog.=) %s and i_table operator(pg_catalog.=) %s then\n'
            '        insert into %s (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)\n'
            '        values (pg_catalog.nextval(%L::pg_catalog.regclass), coalesce($3, pg_catalog.now()), $4, $5, $6, $7, $8, $9, $10, $11)\n'
            '        returning ev_id into v_id;\n'
            '        return v_id;\n'
            '    end if;\n',
            v_queue.queue_id, v_queue.place, v_queue.name, v_queue.sequence);
    end loop;
    return v_code;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
