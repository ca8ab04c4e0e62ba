create or replace function londiste.relay_create(
    i_queue_name text, i_tick_id bigint, i_tick_time timestamptz, i_event_seq bigint)
returns integer as $$
-- londiste.relay_create(4): makes this subscriber a relay: a queue of the same name, with the ticks of the
--           provider, that begins where the subscriber stands.
-- Parameters:
--      i_queue_name    subscribed queue
--      i_tick_id       position of the subscriber
--      i_tick_time, i_event_seq      that tick on the provider
-- Returns:  1
-- Raises:   duplicate_object if the queue exists
-- Changes:  pgq.queue, pgq.tick, londiste.link, londiste.provider_table, londiste.provider_seq
declare
    v_queue     record;
begin
    if pgq.create_queue(i_queue_name) <> 1 then
        raise exception 'queue "%" exists in this database', i_queue_name
            using errcode = 'duplicate_object',
                  hint = 'A relay needs a queue of its own under this name; drop the one that is there.';
    end if;
    update pgq.queue
       set queue_external_ticker = true,
           queue_disable_insert = true
     where queue_name = i_queue_name
 returning queue_id, queue_tick_seq, queue_event_seq into v_queue;
    delete from pgq.tick where tick_queue = v_queue.queue_id;
    perform londiste.mirror_tick(i_queue_name, i_tick_id, i_tick_time, i_event_seq);

    insert into londiste.link (source, dest) values (i_queue_name, i_queue_name);
    insert into londiste.provider_table (queue_name, table_name)
    select t.queue_name, t.table_name
      from londiste.subscriber_table t
     where t.queue_name = i_queue_name and t.merge_state = 'ok' and t.snapshot is null
     order by t.nr
        on conflict do nothing;
    insert into londiste.provider_seq (queue_name, seq_name)
    select s.queue_name, s.seq_name
      from londiste.subscriber_seq s
     where s.queue_name = i_queue_name
     order by s.nr
        on conflict do nothing;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
