create or replace function pgq._snapshot_holders(out subject text, out age interval, out cure text)
returns setof record as $$
-- pgq._snapshot_holders(0): who keeps dead rows of this database from being removed.
-- Returns:  subject: process, prepared transaction, replication slot or standby; age: since when, at
--           least since the oldest tick where nothing better is known, null where nothing is; cure:
--           what to do about it. Whoever cannot be seen is left out
-- Reads:    pg_stat_activity, pg_prepared_xacts, pg_replication_slots, pg_stat_replication, pgq.tick: to
--           see all sessions the owner must be superuser or in pg_read_all_stats
-- Used by:  pgq.get_problems
begin
    return query
        select 'process ' || a.pid, pgq._age(a.xact_start),
               format('select pg_terminate_backend(%s)', a.pid)
          from pg_stat_activity a
         where a.backend_xmin is not null
           and a.pid <> pg_backend_pid()
           and (a.datname = current_database() or a.datname is null)
           and a.backend_type not in ('autovacuum worker', 'walsender')
         union all
        select 'prepared transaction ' || p.gid, pgq._age(p.prepared),
               format('commit prepared %1$s; or: rollback prepared %1$s', quote_literal(p.gid))
          from pg_prepared_xacts p
         where p.database = current_database()
         union all
        -- These have no time of their own; ticks tell when the transaction was the next one.
        select held.name,
               pgq._age(coalesce((select max(t.tick_time)
                                    from pgq.tick t
                                   where txid_snapshot_xmax(t.tick_snapshot)
                                         <= txid_snapshot_xmax(txid_current_snapshot()) - age(held.xmin)),
                                 (select min(t.tick_time) from pgq.tick t))),
               held.cure
          from (select 'replication slot ' || s.slot_name as name, s.xmin,
                       format('see why its reader is behind, or, if nobody needs it: '
                              'select pg_drop_replication_slot(%L)', s.slot_name) as cure
                  from pg_replication_slots s
                 union all
                select 'standby ' || r.application_name, r.backend_xmin,
                       'look for long queries there, or turn hot_standby_feedback off'
                  from pg_stat_replication r) held
         where held.xmin is not null;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
