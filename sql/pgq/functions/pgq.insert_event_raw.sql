create or replace function pgq.insert_event_raw(
    queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer,
    ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
returns bigint as $$
-- pgq.insert_event_raw(11): inserts an event with all its fields.
-- Parameters:
--      queue_name      an existing queue
--      ev_id           id, or null for a new one
--      ev_time         time, or null for the start of the transaction
--      ev_owner        subscription the event is for, or null for everybody
--      ev_retry        number of the redelivery, or null
--      ev_type .. ev_extra4      content, each may be null
-- Returns:  id of the event
-- Raises:   "Queue name must not be NULL"; "No such queue"; "Insert into queue disallowed";
--           "Queue '...' allows max ... events from one TX"
-- Reads:    pgq.queue, on every call: a switch of tables must be seen
-- Changes:  the queue's current table; the event sequence moves even if the event is refused, which
--           is how the ticker notices activity
-- Used by:  pgq.insert_event, pgq.maint_retry_events; a C function may replace it
#variable_conflict use_column
declare
    v_queue     record;
    v_queue_id  integer;
    v_table     integer;
    v_id        bigint;
begin
    -- A new event for a queue without restrictions, which is nearly every one.
    if $2 is null then
        select q.queue_id, q.queue_cur_table
          into v_queue_id, v_table
          from pgq.queue q
         where q.queue_name operator(pg_catalog.=) $1
           and not q.queue_disable_insert
           and q.queue_per_tx_limit is null;
        if v_queue_id is not null then
            v_id := pgq_gen.insert_event(v_queue_id, v_table, $3, $4, $5, $6, $7, $8, $9, $10, $11);
            if v_id is not null then
                return v_id;
            end if;
        end if;
    end if;

    if $1 is null then
        raise exception 'Queue name must not be NULL';
    end if;
    -- The names are quoted in place: a call of pgq.quote_fqname costs as much as the look-up.
    select q.queue_id, q.queue_disable_insert, q.queue_per_tx_limit,
           pg_catalog.format('insert into %I.%I',
                             pg_catalog.split_part(q.queue_data_pfx, '.', 1),
                             pg_catalog.substr(q.queue_data_pfx, pg_catalog.strpos(q.queue_data_pfx, '.') + 1)
                             || '_' || q.queue_cur_table) as insert_into,
           pg_catalog.nextval(pg_catalog.format('%I.%I',
                             pg_catalog.split_part(q.queue_event_seq, '.', 1),
                             pg_catalog.substr(q.queue_event_seq, pg_catalog.strpos(q.queue_event_seq, '.') + 1)
                             )::pg_catalog.regclass) as next_id
      into v_queue
      from pgq.queue q
     where q.queue_name = $1;
    if not found then
        raise exception 'No such queue';
    end if;
    if v_queue.queue_disable_insert and pg_catalog.current_setting('session_replication_role') <> 'replica' then
        raise exception 'Insert into queue disallowed';
    end if;
    -- Redeliveries have an owner; they do not count.
    if v_queue.queue_per_tx_limit is not null and $4 is null then
        perform pgq._count_events($1, v_queue.queue_id, v_queue.queue_per_tx_limit, 1);
    end if;

    v_id := coalesce($2, v_queue.next_id);
    -- Most events have neither an owner nor extra fields, and a short statement is planned faster.
    if pg_catalog.num_nonnulls($4, $5, $8, $9, $10, $11) = 0 then
        execute v_queue.insert_into || ' (ev_id, ev_time, ev_type, ev_data) values ($1, $2, $3, $4)'
          using v_id, coalesce($3, pg_catalog.now()), $6, $7;
    else
        execute v_queue.insert_into
                || ' (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)'
                   ' values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)'
          using v_id, coalesce($3, pg_catalog.now()), $4, $5, $6, $7, $8, $9, $10, $11;
    end if;
    return v_id;
end;
-- No pinned search_path: pgq.insert_event pins it for producers, and a second time would cost them.
$$ language plpgsql;
