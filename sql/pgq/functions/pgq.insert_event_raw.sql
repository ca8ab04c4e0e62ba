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
    v_counter   text;
    v_count     integer;
    v_id        bigint;
begin
    if $1 is null then
        raise exception 'Queue name must not be NULL';
    end if;
    select q.queue_id, q.queue_data_pfx || '_' || q.queue_cur_table as current_table,
           q.queue_disable_insert, q.queue_per_tx_limit,
           nextval(pgq.quote_fqname(q.queue_event_seq)::regclass) as next_id
      into v_queue
      from pgq.queue q
     where q.queue_name = $1;
    if not found then
        raise exception 'No such queue';
    end if;
    if v_queue.queue_disable_insert and current_setting('session_replication_role') <> 'replica' then
        raise exception 'Insert into queue disallowed';
    end if;

    -- Redeliveries have an owner; they do not count.
    if v_queue.queue_per_tx_limit is not null and $4 is null then
        v_counter := 'pgq.txcount_' || v_queue.queue_id;
        -- A setting that was local to an earlier transaction reads as ''.
        v_count := coalesce(nullif(current_setting(v_counter, true), '')::integer, 0) + 1;
        if v_count > v_queue.queue_per_tx_limit then
            raise exception 'Queue ''%'' allows max % events from one TX', $1, v_queue.queue_per_tx_limit;
        end if;
        perform set_config(v_counter, v_count::text, true);
    end if;

    v_id := coalesce($2, v_queue.next_id);
    execute 'insert into ' || pgq.quote_fqname(v_queue.current_table)
            || ' (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)'
               ' values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)'
      using v_id, coalesce($3, now()), $4, $5, $6, $7, $8, $9, $10, $11;
    return v_id;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
