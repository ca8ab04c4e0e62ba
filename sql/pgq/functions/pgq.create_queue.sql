create or replace function pgq.create_queue(i_queue_name text)
returns integer as $$
-- pgq.create_queue(1): creates a queue with its tables, its sequences and its first tick.
-- Parameters:
--      i_queue_name      any text
-- Returns:  1 if created, 0 if it exists
-- Raises:   "Invalid NULL value"
-- Changes:  pgq.queue, pgq.tick; creates pgq.event_N, its children and sequences
-- Used by:  pgqadm create, clients
declare
    v_id        integer;
    v_ntables   integer;
    v_parent    text;
    v_sequence  text;
begin
    if i_queue_name is null then
        raise exception 'Invalid NULL value';
    end if;
    if exists (select from pgq.queue where queue_name = i_queue_name) then
        return 0;
    end if;

    v_id := nextval('pgq.queue_queue_id_seq');
    v_parent := 'event_' || v_id;
    v_sequence := v_parent || '_id_seq';
    insert into pgq.queue (queue_id, queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq)
    values (v_id, i_queue_name, 'pgq.' || v_parent, 'pgq.' || v_sequence, 'pgq.' || v_parent || '_tick_seq')
        on conflict (queue_name) do nothing
 returning queue_ntables into v_ntables;
    if not found then
        -- Somebody else has just created it.
        return 0;
    end if;

    -- The ticker compares last_value with stored positions, hence no cache.
    execute format('create sequence pgq.%I as bigint cache 1', v_sequence);
    execute format('create sequence pgq.%I as bigint cache 1', v_parent || '_tick_seq');
    execute format('create table pgq.%I () inherits (pgq.event_template)', v_parent);
    for i in 0 .. v_ntables - 1 loop
        execute format('create table pgq.%I () inherits (pgq.%I)', v_parent || '_' || i, v_parent);
        execute format('alter table pgq.%I alter column ev_id set default nextval(%L::regclass)',
                       v_parent || '_' || i, 'pgq.' || v_sequence);
        execute format('create index %I on pgq.%I (ev_txid)',
                       v_parent || '_' || i || '_txid_idx', v_parent || '_' || i);
    end loop;

    perform pgq.grant_perms(i_queue_name);
    perform pgq.ticker(i_queue_name);
    perform pgq.tune_storage(i_queue_name);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
