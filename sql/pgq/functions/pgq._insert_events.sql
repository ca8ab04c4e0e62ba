create or replace function pgq._insert_events(
    i_queue_name text, i_type text, i_types text[], i_data text[],
    i_extra1 text[], i_extra2 text[], i_extra3 text[], i_extra4 text[])
returns bigint[] as $$
-- pgq._insert_events(8): inserts many events with one look-up and one statement.
-- Parameters:
--      i_queue_name      an existing queue
--      i_type            type of all events, where i_types is null
--      i_types, i_data, i_extra1 .. i_extra4      fields of each event; null: null in all
-- Returns:  ids of the events, in the order of the arrays
-- Raises:   as pgq.insert_events(7)
-- Reads:    pgq.queue
-- Changes:  the queue's current table; the event sequence moves even if the events are refused
-- Used by:  pgq.insert_events
declare
    v_queue     record;
    v_count     integer := cardinality(i_data);
    v_ids       bigint[];
    v_columns   text := '';
    v_values    text := '';
    v_field     record;
begin
    if i_queue_name is null then
        raise exception 'Queue name must not be NULL';
    end if;
    select q.queue_id, q.queue_disable_insert, q.queue_per_tx_limit,
           pgq.quote_fqname(q.queue_data_pfx || '_' || q.queue_cur_table) as current_table,
           pgq.quote_fqname(q.queue_event_seq)::regclass as sequence,
           nextval(pgq.quote_fqname(q.queue_event_seq)::regclass) as next_id
      into v_queue
      from pgq.queue q
     where q.queue_name = i_queue_name;
    if not found then
        raise exception 'No such queue';
    end if;
    if v_queue.queue_disable_insert and current_setting('session_replication_role') <> 'replica' then
        raise exception 'Insert into queue disallowed';
    end if;
    if i_data is null then
        raise exception 'Array of event data must not be NULL';
    end if;
    if v_queue.queue_per_tx_limit is not null then
        perform pgq._count_events(i_queue_name, v_queue.queue_id, v_queue.queue_per_tx_limit, v_count);
    end if;
    if v_count = 0 then
        return '{}';
    end if;

    for v_field in
        select f.name, f.place, cardinality(f.value) as count
          from (values ('ev_type', 3, i_types), ('ev_extra1', 5, i_extra1), ('ev_extra2', 6, i_extra2),
                       ('ev_extra3', 7, i_extra3), ('ev_extra4', 8, i_extra4)) f (name, place, value)
         where f.value is not null
    loop
        if v_field.count <> v_count then
            raise exception 'Arrays of events differ in length'
                using detail = format('%s has %s elements, the data has %s.', v_field.name, v_field.count, v_count);
        end if;
        v_columns := v_columns || ', ' || v_field.name;
        v_values := v_values || format(', unnest($%s)', v_field.place);
    end loop;
    if i_types is null then
        v_columns := v_columns || ', ev_type';
        v_values := v_values || ', $2';
    end if;

    -- Ids are drawn before the statement, so that each belongs to its event whatever the plan.
    v_ids := v_queue.next_id || array(select nextval(v_queue.sequence) from generate_series(2, v_count));
    -- Several unnest in a select list run in step, and without a copy of the rows on the side.
    execute format('insert into %s (ev_id, ev_time, ev_data%s) select unnest($1), now(), unnest($4)%s',
                   v_queue.current_table, v_columns, v_values)
      using v_ids, i_type, i_types, i_data, i_extra1, i_extra2, i_extra3, i_extra4;
    return v_ids;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
