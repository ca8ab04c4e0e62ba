create or replace function pgq.maint_rotate_tables_step2()
returns integer as $$
-- pgq.maint_rotate_tables_step2(0): completes switches that every transaction sees by now.
-- Returns:  0
-- Reads:    pg_stat_activity: to see all sessions the owner must be superuser or in pg_read_all_stats
-- Changes:  pgq.queue. While a snapshot from before the switch is in use, its owner may still write to
--           the previous table; the switch stays open, batches read both tables, and the only effect
--           is a postponed rotation
-- Used by:  pgq.maint_operations
declare
    v_queue record;
begin
    if not pg_has_role('pg_read_all_stats', 'usage') then
        raise warning 'cannot see the snapshots of other users: events of a transaction older than a '
                      'rotation can be lost'
            using hint = 'grant pg_read_all_stats to ' || quote_ident(current_user);
    end if;

    for v_queue in
        select queue_id, queue_switch_step1
          from pgq.queue
         where queue_switch_step2 is null
           -- In the transaction of step 1 nobody else can have seen the switch.
           and queue_switch_step1 <> txid_current()
    loop
        -- A snapshot that does not see the switch has an xmin no later than its transaction.
        continue when exists (
            select
              from pg_stat_activity a
             where a.datname = current_database()
               and a.pid <> pg_backend_pid()
               and a.backend_type not in ('autovacuum worker', 'walsender')
               and a.backend_xmin is not null
               and age(a.backend_xmin) >= age((v_queue.queue_switch_step1 & 4294967295)::text::xid));
        update pgq.queue
           set queue_switch_step2 = txid_current()
         where queue_id = v_queue.queue_id
           and queue_switch_step2 is null;
    end loop;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
