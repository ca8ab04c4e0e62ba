create or replace function pgq.ticker(i_queue_name text)
returns bigint as $$
-- pgq.ticker(1): makes a tick if the queue is due for one; several, if many events have gathered while
-- nobody ticked, so that they do not become one batch.
-- Parameters:
--      i_queue_name      an existing queue that ticks by itself
-- Returns:  id of the new tick, the last one; null if none is due, or another session is ticking the queue
-- Raises:   "no such queue"; "This queue has external tick source."; "Ticker has been paused for this
--           queue"; "Invalid PgQ state: ..." if transaction ids went back, as after a restore into
--           another cluster
-- Reads:    pgq.queue, the queue's sequences
-- Changes:  pgq.tick; wakes up who waits for it, if the queue is set to
-- Locks:    transaction-level advisory lock (pgqT, queue_id); not the row of pgq.queue, which rotation
--           and foreign keys lock
-- Used by:  pgq.ticker(0), pgq.create_queue, daemons
declare
    v_queue     record;
    v_last      record;
    v_has_last  boolean;
    v_prev_time timestamptz;
    v_position  bigint;
    v_new       bigint;
    v_age       interval;
    v_snapshot  txid_snapshot;
    v_next_xid  bigint;
    v_tick      bigint;
    v_due       boolean;
begin
    select * into v_queue from pgq.queue where queue_name = i_queue_name;
    if not found then
        raise exception 'no such queue';
    end if;
    if v_queue.queue_external_ticker then
        raise exception 'This queue has external tick source.';
    end if;
    if v_queue.queue_ticker_paused then
        raise exception 'Ticker has been paused for this queue';
    end if;

    -- Snapshots of ticks must never go back, or events are delivered twice. Statements after the
    -- lock see what its previous holder committed.
    if not pg_try_advisory_xact_lock(1885827412, v_queue.queue_id) then
        return null;
    end if;

    -- Position before snapshot: an event that comes between them is counted for the next tick.
    v_position := pgq._seq_position(v_queue.queue_event_seq);
    v_snapshot := txid_current_snapshot();
    -- No transaction has this id yet; asking for an own one would use one up at every call.
    v_next_xid := txid_snapshot_xmax(v_snapshot);

    select t.tick_id, t.tick_time, t.tick_event_seq, t.tick_snapshot
      into v_last
      from pgq.tick t
     where t.tick_queue = v_queue.queue_id
     order by t.tick_queue desc, t.tick_id desc
     limit 1;
    v_has_last := found;

    if v_has_last then
        if txid_snapshot_xmin(v_last.tick_snapshot) > v_next_xid then
            raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%',
                txid_snapshot_xmin(v_last.tick_snapshot), txid_snapshot_xmax(v_last.tick_snapshot), v_next_xid;
        end if;
        v_new := v_position - v_last.tick_event_seq;
        -- Ticks of older versions say 1 for a sequence that has given nothing out.
        if v_new < 0 and not (v_position = 0 and v_last.tick_event_seq = 1) then
            raise warning 'Negative new_events?  old=% cur=%', v_last.tick_event_seq, v_position;
        end if;
        if txid_snapshot_xmax(v_last.tick_snapshot) > v_next_xid then
            raise warning 'Dubious PgQ state: old xmax=%, cur txid=%',
                txid_snapshot_xmax(v_last.tick_snapshot), v_next_xid;
        end if;

        v_age := now() - v_last.tick_time;
        if v_new is null then
            v_due := v_age >= v_queue.queue_ticker_max_lag;
        elsif v_new > 0 then
            v_due := v_new >= v_queue.queue_ticker_max_count or v_age >= v_queue.queue_ticker_max_lag;
        else
            -- Idle: the gaps double up to the idle period.
            select t.tick_time into v_prev_time
              from pgq.tick t
             where t.tick_queue = v_queue.queue_id
               and t.tick_id < v_last.tick_id
             order by t.tick_queue desc, t.tick_id desc
             limit 1;
            v_due := not found
                or v_age >= v_queue.queue_ticker_max_lag / 2
                    and (v_age >= 2 * (v_last.tick_time - v_prev_time)
                         or v_age >= v_queue.queue_ticker_idle_period);
        end if;
        -- A clock that was set back since does not tell how old the tick is.
        v_due := v_due or v_last.tick_time > clock_timestamp();
        if not v_due then
            return null;
        end if;

        if txid_snapshot_xmax(v_snapshot) < txid_snapshot_xmax(v_last.tick_snapshot)
           or exists (select
                        from txid_snapshot_xip(v_snapshot) x
                       where txid_visible_in_snapshot(x, v_last.tick_snapshot)) then
            return null;
        end if;
    end if;

    if pgq._unseen_tick(v_queue.queue_id, v_last.tick_id, v_queue.queue_tick_seq) then
        return null;
    end if;
    if v_age > greatest(5 * v_queue.queue_ticker_max_lag, interval '5 seconds')
       and v_new between greatest(40 * v_queue.queue_ticker_max_count::bigint, 40) and 5000000
       and current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
        -- Nobody has ticked for a while, and this would be a giant batch.
        perform pgq._tick_backlog(v_queue.queue_id, v_snapshot, v_position);
    end if;

    v_tick := nextval(pgq.quote_fqname(v_queue.queue_tick_seq)::regclass);
    insert into pgq.tick (tick_queue, tick_id, tick_event_seq, tick_snapshot)
    values (v_queue.queue_id, v_tick, v_position, v_snapshot);
    if v_queue.queue_notify then
        perform pgq._notify_tick(i_queue_name, v_tick);
    end if;
    return v_tick;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp
   set enable_seqscan = off set jit = off;

create or replace function pgq.ticker()
returns bigint as $$
-- pgq.ticker(0): makes a tick on every queue that is due for one.
-- Returns:  number of ticks made
-- Raises:   the first queue's error if no queue could be processed; else a broken queue is a warning
--           and the others go on
-- Reads:    pgq.queue
-- Changes:  pgq.tick
-- Locks:    as pgq.ticker(1)
-- Used by:  daemons
declare
    v_next_xid  bigint := txid_snapshot_xmax(txid_current_snapshot());
    v_names     text[];
    v_name      text;
    v_ticks     bigint := 0;
    v_failed    integer := 0;
    v_error     text;
begin
    -- Most queues are not due most of the time: one plain query finds those that may be, and about
    -- which there is something to say. What it does not know for sure it leaves to pgq.ticker(1).
    begin
        v_names := array(
            select q.queue_name
              from pgq.queue q
              left join lateral (
                    select t.tick_id, t.tick_time, t.tick_event_seq, t.tick_snapshot, now() - t.tick_time as age,
                           -- Null for a sequence that has given nothing out: idle.
                           pg_sequence_last_value(to_regclass(q.queue_event_seq)) - t.tick_event_seq as new
                      from pgq.tick t
                     where t.tick_queue = q.queue_id
                     order by t.tick_queue desc, t.tick_id desc
                     limit 1
                   ) last on true
             where not q.queue_external_ticker
               and not q.queue_ticker_paused
               and case
                       when last.tick_id is null
                            or last.tick_event_seq is null
                            or last.new < 0
                            or last.tick_time > clock_timestamp()
                            or txid_snapshot_xmax(last.tick_snapshot) > v_next_xid then true
                       when last.new > 0 then
                           last.new >= q.queue_ticker_max_count or last.age >= q.queue_ticker_max_lag
                       else
                           last.age >= q.queue_ticker_idle_period and last.age >= q.queue_ticker_max_lag / 2
                           or coalesce((select last.age >= greatest(2 * (last.tick_time - t.tick_time),
                                                                    q.queue_ticker_max_lag / 2)
                                          from pgq.tick t
                                         where t.tick_queue = q.queue_id
                                           and t.tick_id < last.tick_id
                                         order by t.tick_queue desc, t.tick_id desc
                                         limit 1), true)
                   end
             order by q.queue_name);
    exception
        when others then
            -- Of one queue a name or a sequence is not as it should be.
            v_names := array(select q.queue_name
                               from pgq.queue q
                              where not q.queue_external_ticker
                                and not q.queue_ticker_paused
                              order by q.queue_name);
    end;

    foreach v_name in array v_names loop
        begin
            if pgq.ticker(v_name) is not null then
                v_ticks := v_ticks + 1;
            end if;
        exception
            when others then
                raise warning 'cannot tick queue "%": %', v_name, sqlerrm;
                v_failed := v_failed + 1;
                v_error := coalesce(v_error, sqlerrm);
        end;
    end loop;
    if v_failed > 0
       and v_failed >= (select count(*)
                          from pgq.queue q
                         where not q.queue_external_ticker
                           and not q.queue_ticker_paused) then
        raise exception '%', v_error;
    end if;
    return v_ticks;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp
   set enable_seqscan = off set jit = off;

create or replace function pgq.ticker(i_queue_name text, i_tick_id bigint, i_orig_timestamp timestamptz, i_event_seq bigint)
returns bigint as $$
-- pgq.ticker(4): stores a tick that was made elsewhere.
-- Parameters:
--      i_queue_name          a queue with external ticker
--      i_tick_id             id of the tick
--      i_orig_timestamp      its time
--      i_event_seq           its position of the event sequence; may be below the last tick's
-- Returns:  the id
-- Raises:   "queue not found or ticker disabled: ..."; unique_violation if the tick exists;
--           serialization_failure if this transaction's snapshot is older than the last tick; "Invalid PgQ state:
--           ..." if transaction ids went back, as after a restore into another cluster
-- Changes:  pgq.tick; moves both sequences of the queue up to the tick. Its snapshot is the current
--           one: the events must have been committed before. Wakes up who waits for it, if the queue is
--           set to
-- Locks:    as pgq.ticker(1), but waits
-- Used by:  movers that copy ticks
declare
    v_queue     record;
    v_last      record;
    v_next_xid  bigint;
begin
    select q.queue_id, q.queue_tick_seq, q.queue_event_seq, q.queue_notify
      into v_queue
      from pgq.queue q
     where q.queue_name = i_queue_name
       and q.queue_external_ticker
       and not q.queue_ticker_paused;
    if not found then
        raise exception 'queue not found or ticker disabled: %', i_queue_name;
    end if;

    -- Snapshots of ticks must never go back, as in pgq.ticker(1); but whoever pushes a tick counts on it.
    perform pg_advisory_xact_lock(1885827412, v_queue.queue_id);
    v_next_xid := txid_snapshot_xmax(txid_current_snapshot());
    select t.tick_id, t.tick_snapshot
      into v_last
      from pgq.tick t
     where t.tick_queue = v_queue.queue_id
     order by t.tick_queue desc, t.tick_id desc
     limit 1;
    if txid_snapshot_xmin(v_last.tick_snapshot) > v_next_xid then
        raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%',
            txid_snapshot_xmin(v_last.tick_snapshot), txid_snapshot_xmax(v_last.tick_snapshot), v_next_xid;
    end if;
    if pgq._unseen_tick(v_queue.queue_id, v_last.tick_id, v_queue.queue_tick_seq) then
        raise exception 'queue "%" was ticked after this transaction began', i_queue_name
            using errcode = 'serialization_failure',
                  hint = 'Try again, or tick at READ COMMITTED.';
    end if;

    insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
    values (v_queue.queue_id, i_tick_id, i_orig_timestamp, i_event_seq);
    perform pgq.seq_setval(v_queue.queue_tick_seq, i_tick_id);
    perform pgq.seq_setval(v_queue.queue_event_seq, i_event_seq);
    if v_queue.queue_notify then
        perform pgq._notify_tick(i_queue_name, i_tick_id);
    end if;
    return i_tick_id;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp set enable_seqscan = off;

create or replace function pgq.ticker(i_queue_name text, i_tick_id bigint)
returns bigint as $$
-- pgq.ticker(2): stores a tick that was made elsewhere, as of now.
-- Parameters:
--      i_queue_name      a queue with external ticker
--      i_tick_id         id of the tick
-- Returns:  the id
-- Raises:   "queue not found or ticker disabled: ..."; unique_violation if the tick exists
-- Changes:  pgq.tick, the queue's tick sequence
-- Used by:  old movers
declare
    v_sequence  text;
begin
    select q.queue_event_seq into v_sequence from pgq.queue q where q.queue_name = i_queue_name;
    if not found then
        raise exception 'queue not found or ticker disabled: %', i_queue_name;
    end if;
    return pgq.ticker(i_queue_name, i_tick_id, now(), pgq._seq_position(v_sequence));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
