create or replace function pgq.get_problems(
    i_queue_name text,
    out severity text, out problem text, out queue_name text, out consumer_name text,
    out subject text, out since interval, out amount bigint, out message text, out advice text)
returns setof record as $$
-- pgq.get_problems(1): what is wrong, and what to do about it.
-- Parameters:
--      i_queue_name      queue; null: all, and the database itself
-- Returns:  rows, none if all is well.
--           severity: 'error' (the queue does not work, or will fill the disk), 'warning', 'note'.
--           problem: what kind of problem, see below. queue_name, consumer_name: where; null if it is
--           about the database. subject: process, prepared transaction, slot or capture at fault. since: for how
--           long. amount: how many. message, advice: the same for people, with what to run.
--           txid_behind: transaction ids are behind those of ticks, as in a restored dump: what is written is lost;
--           no_ticker: queues wait for a tick, and nobody holds the ticker's lock;
--           not_ticked: a ticker runs, and a queue is not ticked: 15 seconds past its limit;
--           paused: a queue is paused while events wait;
--           no_maintenance: tables have been due for rotation for 10 minutes, and nobody is in the way;
--           rotation_consumer, rotation_snapshot, rotation_transaction, rotation_prepared, rotation_lock:
--           the same, and who is; an error once a whole period was missed;
--           consumer_lost: its position is gone;
--           consumer_gone: not seen for an hour although there is work; an error if it blocks rotation;
--           consumer_silent: the same for 5 minutes;
--           consumer_behind: seen, and more than 10 minutes late;
--           retry_overdue: events have been due for redelivery for 10 minutes;
--           failed_events: consumers gave up on events;
--           capture: a capture cannot follow its table, and works in the slow way or not as it was meant,
--           since the round of maintenance that found it; or it has no queue any more, and writers get errors;
--           old_snapshot: a session, prepared transaction, slot or standby keeps dead rows from being removed
--           for an hour, which slows consumers down;
--           blind: the owner of the functions cannot see sessions of other users
-- Reads:    as pgq.get_queue_health and pgq.get_consumer_health; pgq.capture, pg_locks, pg_stat_activity,
--           pg_prepared_xacts, pg_replication_slots, pg_stat_replication
-- Used by:  pgqadm status, monitoring
declare
    v_ticker    integer;
    v_queue     record;
    v_count     bigint := 0;
    v_longest   interval;
    v_word      text;
    v_xmax      bigint;
begin
    select count(*), max(t.xmax) into amount, v_xmax
      from pgq.queue q
      cross join lateral (
               select txid_snapshot_xmax(n.tick_snapshot) as xmax
                 from pgq.tick n
                where n.tick_queue = q.queue_id
                order by n.tick_queue desc, n.tick_id desc
                limit 1) t
     where t.xmax > txid_snapshot_xmax(txid_current_snapshot())
       and (i_queue_name is null or q.queue_name = i_queue_name);
    if amount > 0 then
        severity := 'error';
        problem := 'txid_behind';
        queue_name := i_queue_name;
        message := format('transaction ids are behind the ticks of queues: %s, as in a restored dump; what is written '
                          'now is never delivered', amount);
        advice := format('let nobody write, stop the server, and raise them: pg_resetwal -e %s DATA', (v_xmax >> 32) + 1);
        return next;
    end if;

    select l.pid into v_ticker
      from pg_locks l
     where l.locktype = 'advisory'
       and l.classid = 1885827396::oid
       and l.objid = 0::oid
       and l.objsubid = 2
       and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
     limit 1;

    for v_queue in
        select h.*, q.queue_rotation_period as period
          from pgq._queue_health(i_queue_name, false) h
          join pgq.queue q on q.queue_name = h.queue_name
    loop
        queue_name := v_queue.queue_name;
        consumer_name := null;
        subject := null;
        amount := null;
        v_word := quote_literal(queue_name);

        if v_queue.ticker_limit is not null
           and coalesce(v_queue.ticker_lag > v_queue.ticker_limit + interval '15 seconds', true)
        then
            if v_ticker is null then
                v_count := v_count + 1;
                v_longest := greatest(v_longest, v_queue.ticker_lag);
            else
                severity := 'error';
                problem := 'not_ticked';
                subject := v_ticker;
                since := v_queue.ticker_lag;
                message := format('a ticker runs (process %s) and does not tick the queue', v_ticker);
                advice := 'look into its log';
                return next;
            end if;
        end if;
        subject := null;

        if v_queue.ticker_paused and v_queue.new_events > 0 then
            severity := 'warning';
            problem := 'paused';
            since := v_queue.ticker_lag;
            amount := v_queue.new_events;
            message := format('paused while about %s events wait', amount);
            advice := format('select pgq.set_queue_config(%s, ''ticker_paused'', ''false'')', v_word);
            return next;
        end if;

        -- A consumer that does not run is told of below.
        if v_queue.rotation_overdue > interval '10 minutes'
           and not exists (
                   select
                     from pgq.get_consumer_health(v_queue.queue_name, v_queue.rotation_blocker_name) h
                    where v_queue.rotation_blocker = 'consumer'
                      and (h.is_lost or h.last_seen > interval '1 hour'))
        then
            severity := case when v_queue.rotation_overdue > v_queue.period then 'error' else 'warning' end;
            since := v_queue.rotation_overdue;
            amount := v_queue.event_tables_size;
            subject := v_queue.rotation_blocker_name;
            if v_queue.rotation_blocker is null then
                problem := 'no_maintenance';
                message := 'event tables are due for rotation and nobody is in the way: maintenance does not run';
                advice := 'run the ticker, look into its log';
            elsif v_queue.rotation_blocker = 'consumer' then
                problem := 'rotation_consumer';
                consumer_name := subject;
                message := format('event tables cannot rotate and grow: consumer %s has not read on', subject);
                advice := format('start the consumer, or, if nobody needs it: select pgq.unregister_consumer(%s, %s)',
                                 v_word, quote_literal(subject));
                subject := null;
            elsif v_queue.rotation_blocker = 'prepared transaction' then
                problem := 'rotation_prepared';
                message := format('event tables cannot rotate and grow: prepared transaction %s is open', subject);
                advice := format('commit prepared %1$s; or: rollback prepared %1$s', quote_literal(subject));
            else
                problem := 'rotation_' || v_queue.rotation_blocker;
                message := format('event tables cannot rotate and grow: process %s %s',
                    coalesce(subject, '(hidden)'),
                    case v_queue.rotation_blocker
                        when 'snapshot' then 'has a snapshot from before the last rotation'
                        when 'transaction' then 'has a transaction open from before the last rotation'
                        else 'uses the next table'
                    end);
                advice := format('end its transaction, or: select pg_terminate_backend(%s)', coalesce(subject, 'PID'));
            end if;
            return next;
        end if;
        consumer_name := null;
        subject := null;

        if v_queue.retry_overdue > interval '10 minutes' then
            severity := 'warning';
            problem := 'retry_overdue';
            since := v_queue.retry_overdue;
            amount := v_queue.retry_events;
            message := format('of %s events to be delivered again, the first is overdue', amount);
            advice := case when v_queue.insert_disabled
                           then 'the queue takes no events: see queue_disable_insert'
                           else 'run the ticker, look into its log'
                      end;
            return next;
        end if;
    end loop;

    if v_count > 0 then
        severity := 'error';
        problem := 'no_ticker';
        queue_name := null;
        since := v_longest;
        amount := v_count;
        message := format('no ticker runs; queues that wait for a tick: %s', v_count);
        advice := 'run the ticker: pgqadm INI -d ticker';
        return next;
    end if;

    amount := null;
    for v_queue in
        select h.* from pgq.get_consumer_health(i_queue_name, null) h
    loop
        queue_name := v_queue.queue_name;
        consumer_name := v_queue.consumer_name;
        amount := v_queue.pending_events;
        v_word := format('%L, %L', queue_name, consumer_name);
        if v_queue.is_lost then
            severity := 'error';
            problem := 'consumer_lost';
            since := v_queue.last_seen;
            message := 'its position is gone: it cannot read on, and the queue cannot rotate';
            advice := format('select pgq.unregister_consumer(%1$s); copy what it missed; register it again', v_word);
            return next;
        elsif v_queue.last_seen > interval '1 hour' and (v_queue.waiting > interval '1 hour' or v_queue.batch_id is not null) then
            severity := case when v_queue.blocks_rotation then 'error' else 'warning' end;
            problem := 'consumer_gone';
            since := v_queue.last_seen;
            message := case when v_queue.blocks_rotation
                            then 'it does not run, and keeps the event tables from rotating'
                            else 'it does not run'
                       end;
            advice := format('start it, or, if nobody needs it: select pgq.unregister_consumer(%s)', v_word);
            return next;
        elsif v_queue.last_seen > interval '5 minutes' and v_queue.waiting > interval '5 minutes' then
            severity := 'warning';
            problem := 'consumer_silent';
            since := v_queue.last_seen;
            message := case when v_queue.batch_id is null
                            then 'it does not ask for work that waits for it'
                            else format('it has worked on batch %s all the time', v_queue.batch_id)
                       end;
            advice := 'see whether it runs; look into its log';
            return next;
        elsif v_queue.waiting > interval '10 minutes' then
            severity := 'warning';
            problem := 'consumer_behind';
            since := v_queue.waiting;
            message := format('it runs, and is late: about %s events wait', coalesce(amount::text, 'some'));
            advice := 'look into its log whether a batch fails again and again, or it is too slow';
            return next;
        end if;
        if v_queue.failed_events > 0 then
            severity := 'warning';
            problem := 'failed_events';
            since := v_queue.failed_oldest;
            amount := v_queue.failed_events;
            message := format('events that it gave up on: %s', amount);
            advice := format('select * from pgq.failed_event_list(%s); then pgq.failed_event_retry or _delete', v_word);
            return next;
        end if;
    end loop;

    consumer_name := null;
    amount := null;
    for v_queue in
        -- Those first, since to look for the table of each takes longer.
        with wrong as materialized (
            select c, q.queue_id is null as is_orphan
              from pgq.capture c
              left join pgq.queue q on q.queue_name = c.cap_queue
             where (i_queue_name is null or c.cap_queue = i_queue_name)
               and (c.cap_problem is not null or q.queue_id is null)
        )
        select (w.c).*, w.is_orphan, w.relation::regclass::text as name
          from (select wrong.*, pgq_gen._relation_of(wrong.c) as relation from wrong) w
         where w.relation is not null
         order by (w.c).cap_queue, w.relation, (w.c).cap_trigger
    loop
        problem := 'capture';
        queue_name := v_queue.cap_queue;
        subject := format('%s of %s', v_queue.cap_trigger, v_queue.name);
        severity := case when v_queue.is_orphan then 'error' else 'warning' end;
        since := case when not v_queue.is_orphan then pgq._age(v_queue.cap_problem_since) end;
        message := format('capture %s: %s', subject,
                          case when v_queue.is_orphan then 'there is no such queue, and who writes to the table gets an error'
                               else v_queue.cap_problem end);
        advice := case when v_queue.is_orphan
                       then format('select pgq.drop_capture(%L, %L); or: select pgq.create_queue(%L)', v_queue.name,
                                   v_queue.cap_trigger, queue_name)
                       else v_queue.cap_advice end;
        return next;
    end loop;

    if i_queue_name is not null then
        return;
    end if;
    queue_name := null;
    severity := 'warning';
    problem := 'old_snapshot';
    for v_queue in
        select h.subject as name, h.age, h.cure from pgq._snapshot_holders() h order by h.age desc
    loop
        if v_queue.age > interval '1 hour' then
            subject := v_queue.name;
            since := v_queue.age;
            message := format('%s keeps dead rows from being removed; consumers get slower', subject);
            advice := v_queue.cure;
            return next;
        end if;
    end loop;

    if not pg_has_role('pg_read_all_stats', 'usage') then
        severity := 'note';
        problem := 'blind';
        subject := null;
        since := null;
        message := format('%s, the owner of PgQ, cannot see sessions of other users: some problems stay hidden',
                          current_user);
        advice := format('grant pg_read_all_stats to %I', current_user);
        return next;
    end if;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp set jit = off;

create or replace function pgq.get_problems(
    out severity text, out problem text, out queue_name text, out consumer_name text,
    out subject text, out since interval, out amount bigint, out message text, out advice text)
returns setof record as $$
-- pgq.get_problems(0): what is wrong in this database, the worst first.
-- Returns:  as pgq.get_problems(1)
-- Used by:  monitoring
begin
    return query
        select p.*
          from pgq.get_problems(null) p
         order by array_position(array['error', 'warning', 'note'], p.severity),
                  p.queue_name nulls first, p.consumer_name nulls first;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pgq, pg_temp;
