create or replace function pgq._unaware_sessions(
    i_queue_id integer, i_txid bigint,
    out reason text, out pid integer, out xact_start timestamptz, out virtualtransaction text)
returns setof record as $$
-- pgq._unaware_sessions(2): who may still write to the previous table of a queue, not knowing that it has switched to
-- the next.
-- Parameters:
--      i_queue_id      a queue whose switch is not complete
--      i_txid          transactions with an id before this one do no harm: batches look for their events in both tables;
--                      null: all that have an id by now
-- Returns:  reason: 'snapshot', from before the switch, or 'transaction', without an id, that has used the sequence
--           of events: captures of rows ask the sequence to take up the switch (pgq_gen._insert_code), and it answers
--           the first time only; pid: null of a prepared transaction; virtualtransaction: as in pg_locks, null of a
--           snapshot
-- Reads:    pgq.queue, pg_locks, pg_stat_activity: to see the snapshots of all sessions the owner must be superuser
--           or in pg_read_all_stats
-- Used by:  pgq.maint_rotate_tables_step2, pgq._rotation_blocker
    with lock as materialized (
        select l.locktype, l.database, l.relation, l.transactionid, l.virtualtransaction, l.pid, l.mode
          from pg_locks l
         where l.granted
    )
    select 'snapshot', a.pid, a.xact_start, null
      from pgq.queue q
      join pg_stat_activity a
        -- A snapshot that does not see the switch has an xmin no later than its transaction.
        on age(a.backend_xmin) >= age((q.queue_switch_step1 & 4294967295)::text::xid)
     where q.queue_id = i_queue_id
       and a.datname = current_database()
       and a.pid <> pg_backend_pid()
       and a.backend_type not in ('autovacuum worker', 'walsender')
     union all
    select 'transaction', l.pid, a.xact_start, l.virtualtransaction
      from pgq.queue q
      join lock l
        on l.locktype = 'relation'
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.relation = to_regclass(pgq.quote_fqname(q.queue_event_seq))
       and l.pid is distinct from pg_backend_pid()
      left join pg_stat_activity a on a.pid = l.pid
     where q.queue_id = i_queue_id
       -- Each transaction with an id has a lock on it, which all may see, and those with savepoints several.
       and not exists (select
                         from lock i
                        where i.locktype = 'transactionid'
                          and i.mode = 'ExclusiveLock'
                          and i.virtualtransaction = l.virtualtransaction
                          and (i_txid is null
                               or age(i.transactionid) > age((i_txid & 4294967295)::text::xid)))
     order by 1, 3;
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
