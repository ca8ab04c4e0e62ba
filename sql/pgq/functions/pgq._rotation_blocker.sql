create or replace function pgq._rotation_blocker(
    i_queue_id integer,
    out blocker text, out blocker_name text, out blocker_age interval)
as $$
-- pgq._rotation_blocker(1): who keeps a queue from switching to its next table, if somebody does.
-- Parameters:
--      i_queue_id      a queue; null: none
-- Returns:  blocker: 'snapshot' (a session's snapshot from before the last switch), 'transaction' or
--           'prepared transaction' (begun before it, or does not know of it), 'consumer' (has not passed it),
--           'lock' (a session uses the next table); null if it is none of these. blocker_name: process id,
--           global id or consumer; null if it cannot be seen. blocker_age: age of the transaction; of the last
--           sign of life of a consumer
-- Reads:    pgq.queue, pgq.subscription, pgq.consumer, pgq.tick, pg_stat_activity, pg_prepared_xacts,
--           pg_locks: to see all sessions the owner must be superuser or in pg_read_all_stats
-- Used by:  pgq._queue_health
declare
    v_queue     record;
    v_oldest    bigint := txid_snapshot_xmin(txid_current_snapshot());
    v_xid       xid;
begin
    select q.queue_switch_step1, q.queue_switch_step2,
           to_regclass(pgq.quote_fqname(q.queue_data_pfx || '_'
                                        || (q.queue_cur_table + 1) % q.queue_ntables)) as next_table
      into v_queue
      from pgq.queue q
     where q.queue_id = i_queue_id;
    if not found then
        return;
    end if;

    if v_queue.queue_switch_step2 is null then
        -- The condition of maint_rotate_tables_step2.
        select u.reason, u.pid::text, pgq._age(u.xact_start)
          into blocker, blocker_name, blocker_age
          from pgq._unaware_sessions(i_queue_id, txid_snapshot_xmax(txid_current_snapshot())) u
         limit 1;
        return;
    end if;

    if v_oldest <= v_queue.queue_switch_step2 then
        -- Holds back the snapshot of every tick. With it go all consumers that wait for ticks.
        v_xid := (v_oldest & 4294967295)::text::xid;
        blocker := 'transaction';
        select a.pid::text, pgq._age(a.xact_start)
          into blocker_name, blocker_age
          from pg_stat_activity a
         where a.backend_xid = v_xid;
        if not found then
            select 'prepared transaction', p.gid, pgq._age(p.prepared)
              into blocker, blocker_name, blocker_age
              from pg_prepared_xacts p
             where p.transaction = v_xid;
            if not found then
                blocker := 'transaction';
            end if;
        end if;
        return;
    end if;

    select 'consumer', c.co_name, pgq._age(s.sub_active)
      into blocker, blocker_name, blocker_age
      from pgq.subscription s
      join pgq.consumer c on c.co_id = s.sub_consumer
      left join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
     where s.sub_queue = i_queue_id
       and s.sub_last_tick is not null
       and (t.tick_id is null or txid_snapshot_xmin(t.tick_snapshot) <= v_queue.queue_switch_step2)
     order by s.sub_last_tick, c.co_name
     limit 1;
    if found then
        return;
    end if;

    select 'lock', l.pid::text, pgq._age(a.xact_start)
      into blocker, blocker_name, blocker_age
      from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'relation'
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.relation = v_queue.next_table
       and l.granted
       and l.pid <> pg_backend_pid()
     order by a.xact_start
     limit 1;
end;
$$ language plpgsql stable strict set search_path = pg_catalog, pgq, pg_temp;
