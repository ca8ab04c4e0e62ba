create or replace function londiste.relay_promote(i_queue_name text)
returns bigint as $$
-- londiste.relay_promote(1): the first half of making a relay the root: its queue takes events again, and
--           the first one tells everybody. To be committed before londiste.relay_promoted.
-- Parameters:
--      i_queue_name    a relay's queue
-- Returns:  the newest tick, which ends the old generation
-- Raises:   object_not_in_prerequisite_state if this is no relay
-- Changes:  pgq.queue, both sequences of the queue, londiste.node_info, londiste.node_generation; an event of
--           type londiste.promoted: data node, extra1 generation, extra2 newest tick before
declare
    v_queue     record;
    v_node      record;
    v_last_tick bigint;
    v_max       bigint;
begin
    if londiste.link_source(i_queue_name) is distinct from i_queue_name then
        raise exception 'queue "%" is no relay''s queue', i_queue_name
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    update pgq.queue
       set queue_disable_insert = false
     where queue_name = i_queue_name
 returning queue_id, queue_data_pfx, queue_event_seq, queue_tick_seq into v_queue;
    select max(t.tick_id) into v_last_tick from pgq.tick t where t.tick_queue = v_queue.queue_id;

    -- Ids that the old root gave out and nobody else has seen must not come again.
    execute format('select max(ev_id) from %s', londiste.quote_fqname(v_queue.queue_data_pfx)) into v_max;
    perform pgq.seq_setval(v_queue.queue_event_seq,
                           greatest(v_max, pg_sequence_last_value(
                               londiste.quote_fqname(v_queue.queue_event_seq)::regclass), 0) + 1000000);
    perform pgq.seq_setval(v_queue.queue_tick_seq, v_last_tick);

    update londiste.node_info n
       set generation = n.generation + 1, paused = false, provider_dsn = null
     where n.queue_name = i_queue_name
 returning n.generation, n.node_name into v_node;
    insert into londiste.node_generation (queue_name, generation, node_name, last_tick)
    values (i_queue_name, v_node.generation, v_node.node_name, v_last_tick);
    perform pgq.insert_event(i_queue_name, 'londiste.promoted', v_node.node_name,
                             v_node.generation::text, v_last_tick::text, null, null);
    return v_last_tick;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
