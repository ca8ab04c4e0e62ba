create or replace function pgq.batch_event_tables(x_batch_id bigint)
returns setof text as $$
-- pgq.batch_event_tables(1): tables that may hold events of a batch.
-- Parameters:
--      x_batch_id      an open batch
-- Returns:  one or two names, unquoted, the older table first
-- Raises:   "Cannot find data for batch ..."
-- Reads:    pgq.queue, pgq.subscription, pgq.tick
-- Used by:  pgq.batch_event_sql
declare
    v_batch     record;
    v_previous  integer;
begin
    select q.queue_data_pfx, q.queue_ntables, q.queue_cur_table, q.queue_switch_step1, q.queue_switch_step2,
           txid_snapshot_xmin(last.tick_snapshot) as low,
           txid_snapshot_xmax(cur.tick_snapshot) as high
      into v_batch
      from pgq.subscription s
      join pgq.queue q on q.queue_id = s.sub_queue
      join pgq.tick last on last.tick_queue = s.sub_queue and last.tick_id = s.sub_last_tick
      join pgq.tick cur on cur.tick_queue = s.sub_queue and cur.tick_id = s.sub_next_tick
     where s.sub_batch = x_batch_id;
    if not found then
        raise exception 'Cannot find data for batch %', x_batch_id;
    end if;

    v_previous := (v_batch.queue_cur_table + v_batch.queue_ntables - 1) % v_batch.queue_ntables;
    if v_batch.high < v_batch.queue_switch_step1 then
        return next v_batch.queue_data_pfx || '_' || v_previous;
    elsif v_batch.low > v_batch.queue_switch_step2 then
        return next v_batch.queue_data_pfx || '_' || v_batch.queue_cur_table;
    else
        return next v_batch.queue_data_pfx || '_' || v_previous;
        return next v_batch.queue_data_pfx || '_' || v_batch.queue_cur_table;
    end if;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
