create or replace function pgq.maint_rotate_tables_step2()
returns integer as $$
-- pgq.maint_rotate_tables_step2(0): completes switches that every transaction sees by now.
-- Returns:  0
-- Reads:    what sessions do: to see all of them the owner must be superuser or in pg_read_all_stats
-- Changes:  pgq.queue. While there are sessions that may not know of a switch and write to the previous table, it
--           stays open, batches read both tables, and the only effect is a postponed rotation
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
        select queue_id
          from pgq.queue
         where queue_switch_step2 is null
           -- In the transaction of step 1 nobody else can have seen the switch.
           and queue_switch_step1 <> txid_current()
    loop
        -- What this transaction saw of others before it had its own id does not count.
        perform pg_stat_clear_snapshot();
        continue when exists (select from pgq._unaware_sessions(v_queue.queue_id, txid_current()));
        update pgq.queue
           set queue_switch_step2 = txid_current()
         where queue_id = v_queue.queue_id
           and queue_switch_step2 is null;
    end loop;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
