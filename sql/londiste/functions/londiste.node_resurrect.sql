create or replace function londiste.node_resurrect(i_queue_name text, i_last_tick bigint, i_copy boolean)
returns bigint as $$
-- londiste.node_resurrect(3): makes a former root a relay that stands at a tick. What its queue has after that is
--           deleted, and its tables are captured no more. No consumer may be behind the tick.
-- Parameters:
--      i_queue_name    a queue that makes its own ticks, or did
--      i_last_tick     the newest tick that the new root has of this one's
--      i_copy          whether tables are to be copied again
-- Returns:  number of events that are deleted
-- Raises:   undefined_object if there is no such queue
-- Changes:  the events and triggers of the queue, pgq.queue, pgq.tick, pgq.subscription, londiste.link,
--           londiste.node_info, registrations of both sides
-- Used by:  londiste provider resurrect
declare
    v_queue     record;
    v_table     record;
    v_deleted   bigint;
begin
    update pgq.queue
       set queue_external_ticker = true, queue_disable_insert = true
     where queue_name = i_queue_name
 returning queue_id, queue_data_pfx into v_queue;
    if not found then
        raise exception 'no such queue: %', i_queue_name using errcode = 'undefined_object';
    end if;
    execute format('delete from %s e where not pg_catalog.txid_visible_in_snapshot(e.ev_txid, $1)',
                   londiste.quote_fqname(v_queue.queue_data_pfx))
      using (select t.tick_snapshot from pgq.tick t
              where t.tick_queue = v_queue.queue_id and t.tick_id = i_last_tick);
    get diagnostics v_deleted = row_count;
    update pgq.subscription
       set sub_batch = null, sub_next_tick = null
     where sub_queue = v_queue.queue_id and sub_next_tick > i_last_tick;
    delete from pgq.tick where tick_queue = v_queue.queue_id and tick_id > i_last_tick;

    for v_table in
        select p.table_name, p.trigger_name
          from londiste.provider_table p
         where p.queue_name = i_queue_name and p.trigger_name is not null
         order by p.nr
    loop
        perform londiste.provider_drop_trigger(v_table.table_name, v_table.trigger_name);
    end loop;
    update londiste.provider_table set trigger_name = null where queue_name = i_queue_name;
    insert into londiste.link (source, dest) values (i_queue_name, i_queue_name) on conflict do nothing;
    insert into londiste.subscriber_seq (queue_name, seq_name)
    select queue_name, seq_name from londiste.provider_seq where queue_name = i_queue_name order by nr
    on conflict do nothing;
    insert into londiste.subscriber_table (queue_name, table_name, merge_state)
    select queue_name, table_name, 'ok' from londiste.provider_table where queue_name = i_queue_name order by nr
    on conflict do nothing;
    update londiste.node_info set paused = false, provider_dsn = null where queue_name = i_queue_name;
    if i_copy then
        perform londiste.subscriber_set_table_state(s.queue_name, s.table_name, null, null)
           from londiste.subscriber_table s
          where s.queue_name = i_queue_name;
    end if;
    return v_deleted;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
