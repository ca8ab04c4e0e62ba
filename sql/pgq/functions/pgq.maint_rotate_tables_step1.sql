create or replace function pgq.maint_rotate_tables_step1(i_queue_name text)
returns integer as $$
-- pgq.maint_rotate_tables_step1(1): switches a queue to its next table, if it is time and nobody
-- needs what that table holds.
-- Parameters:
--      i_queue_name      queue
-- Returns:  0
-- Raises:   "queue ... maint failure: ..." if transaction ids went back or a consumer's tick is gone
-- Reads:    pgq.subscription
-- Changes:  pgq.queue, pgq.tick; truncates the next table
-- Locks:    the row of pgq.queue, the next table; comes back later if somebody else holds that
-- Used by:  pgq.maint_operations
declare
    v_queue     record;
    v_low       bigint;
    v_snapshot  txid_snapshot;
    v_next      integer;
    v_table     text;
begin
    select * into v_queue
      from pgq.queue q
     where q.queue_name = i_queue_name
       and q.queue_rotation_period is not null
       and q.queue_switch_step2 is not null
       and (q.queue_switch_time + q.queue_rotation_period < now()
            -- The clock was set back since.
            or q.queue_switch_time > clock_timestamp())
       for update;
    if not found then
        return 0;
    end if;
    if txid_current() < v_queue.queue_switch_step1 then
        raise exception 'queue % maint failure: step1=%, current=%',
            i_queue_name, v_queue.queue_switch_step1, txid_current();
    end if;

    -- Who has not passed the last switch may need the previous table, and with a ring of two that
    -- is the next one.
    select min(s.sub_last_tick) into v_low
      from pgq.subscription s
     where s.sub_queue = v_queue.queue_id;
    if v_low is not null then
        select t.tick_snapshot into v_snapshot
          from pgq.tick t
         where t.tick_queue = v_queue.queue_id
           and t.tick_id = v_low;
        if not found then
            raise exception 'queue % maint failure: tick % not found', i_queue_name, v_low;
        end if;
        if txid_snapshot_xmin(v_snapshot) <= v_queue.queue_switch_step2 then
            return 0;
        end if;
    end if;

    v_next := (v_queue.queue_cur_table + 1) % v_queue.queue_ntables;
    v_table := pgq.quote_fqname(v_queue.queue_data_pfx || '_' || v_next);
    begin
        execute format('lock table %s in access exclusive mode nowait', v_table);
        execute 'truncate ' || v_table;
    exception
        when lock_not_available then
            return 0;
    end;

    update pgq.queue
       set queue_cur_table = v_next,
           queue_switch_time = now(),
           queue_switch_step1 = txid_current(),
           queue_switch_step2 = null
     where queue_id = v_queue.queue_id;

    -- Ticks older than the previous switch: a consumer can still be moved back by a period, and the
    -- events of every tick that stays can be read.
    delete from pgq.tick
     where tick_queue = v_queue.queue_id
       and txid_snapshot_xmin(tick_snapshot) < v_queue.queue_switch_step2;
    return 0;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
