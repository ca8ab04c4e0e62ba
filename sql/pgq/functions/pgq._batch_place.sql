create or replace function pgq._batch_place(
    i_batch_id bigint,
    out owner_id integer, out queue_id integer, out last_tick bigint, out next_tick bigint,
    out last_snapshot txid_snapshot, out next_snapshot txid_snapshot, out tables text[])
as $$
-- pgq._batch_place(1): where an open batch lies: between which ticks, and in which tables.
-- Parameters:
--      i_batch_id      an open batch
-- Returns:  the sub_id that its retried events have; its queue; the ticks that it lies between and their
--           snapshots; one or two names of event tables, unquoted, the older first. All null if the
--           batch or a tick of it is unknown
-- Reads:    pgq.subscription, pgq.queue, pgq.tick; one after the other, each by its key: a plan for all
--           of them, made while the tables were small and kept, would read them whole
-- Used by:  pgq._batch_sql, pgq.batch_event_tables, pgq._batch_event
declare
    v_queue     record;
    v_previous  text;
    v_current   text;
begin
    select s.sub_id, s.sub_queue, s.sub_last_tick, s.sub_next_tick
      into owner_id, queue_id, last_tick, next_tick
      from pgq.subscription s
     where s.sub_batch = i_batch_id;
    select last.tick_snapshot, next.tick_snapshot
      into last_snapshot, next_snapshot
      from pgq.tick last, pgq.tick next
     where last.tick_queue = queue_id
       and last.tick_id = last_tick
       and next.tick_queue = queue_id
       and next.tick_id = next_tick;
    if not found then
        owner_id := null;
        queue_id := null;
        last_tick := null;
        next_tick := null;
        return;
    end if;

    select q.queue_data_pfx, q.queue_ntables, q.queue_cur_table, q.queue_switch_step1, q.queue_switch_step2
      into v_queue
      from pgq.queue q
     where q.queue_id = _batch_place.queue_id;
    v_previous := v_queue.queue_data_pfx || '_'
                  || (v_queue.queue_cur_table + v_queue.queue_ntables - 1) % v_queue.queue_ntables;
    v_current := v_queue.queue_data_pfx || '_' || v_queue.queue_cur_table;
    tables := case
        when txid_snapshot_xmax(next_snapshot) < v_queue.queue_switch_step1 then array[v_previous]
        when txid_snapshot_xmin(last_snapshot) > v_queue.queue_switch_step2 then array[v_current]
        else array[v_previous, v_current]
    end;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp set enable_seqscan = off;
