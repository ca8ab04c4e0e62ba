create or replace function pgq.maint_rotate_tables_step2()
returns integer as $$
-- pgq.maint_rotate_tables_step2(0): completes switches that every transaction sees by now.
-- Returns:  0
-- Reads:    what sessions do: to see all of them the owner must be superuser or in pg_read_all_stats
-- Changes:  pgq.queue. While there are sessions that may not know of a switch and write to the previous table, it
--           stays open, batches read both tables, and the only effect is a postponed rotation
-- Locks:    none, but waits up to a second for transactions that do not know of a switch
-- Used by:  pgq.maint_operations
declare
    v_deadline  timestamptz := clock_timestamp() + interval '1 second';
    v_queue     record;
    v_unaware   text[];
    v_queues    integer[];
    v_switches  bigint[];
begin
    if not pg_has_role('pg_read_all_stats', 'usage') then
        raise warning 'cannot see the snapshots of other users: events of a transaction older than a '
                      'rotation can be lost'
            using hint = 'grant pg_read_all_stats to ' || quote_ident(current_user);
    end if;

    -- This transaction gets its id last: whoever had one before does no harm.
    for v_queue in
        select queue_id, queue_switch_step1
          from pgq.queue
         where queue_switch_step2 is null
           -- In the transaction of step 1 nobody else can have seen the switch.
           and queue_switch_step1 is distinct from txid_current_if_assigned()
    loop
        -- Step 1 lets go of its lock when it has told all sessions of the switch.
        continue when exists (select
                                from pg_locks l
                               where l.locktype = 'transactionid'
                                 and l.mode = 'ExclusiveLock'
                                 and l.transactionid = (v_queue.queue_switch_step1 & 4294967295)::text::xid);
        -- So who is first seen later knows of it: on a busy queue there is always somebody.
        v_unaware := null;
        loop
            perform pg_stat_clear_snapshot();
            select coalesce(array_agg(coalesce(u.virtualtransaction, 'snapshot')), '{}')
              into v_unaware
              from pgq._unaware_sessions(v_queue.queue_id, txid_current_if_assigned()) u
             where v_unaware is null
                or u.reason = 'snapshot'
                or u.virtualtransaction = any (v_unaware);
            exit when v_unaware = '{}' or 'snapshot' = any (v_unaware) or clock_timestamp() > v_deadline;
            perform pg_sleep(0.01);
        end loop;
        if v_unaware = '{}' then
            v_queues := v_queues || v_queue.queue_id;
            v_switches := v_switches || v_queue.queue_switch_step1;
        end if;
    end loop;

    update pgq.queue q
       set queue_switch_step2 = txid_current()
      from unnest(v_queues, v_switches) c (queue_id, step1)
     where q.queue_id = c.queue_id
       -- Somebody else may have completed this switch and begun the next.
       and q.queue_switch_step1 = c.step1
       and q.queue_switch_step2 is null;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
