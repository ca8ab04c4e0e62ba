create or replace function pgq._tick_backlog(i_queue_id integer, i_snapshot txid_snapshot, i_position bigint)
returns integer as $$
-- pgq._tick_backlog(3): divides what gathered while nobody ticked, by ticks between the last one and
-- the one about to be made, so that it does not become one batch.
-- Parameters:
--      i_queue_id        a queue; the caller holds its lock of the ticker, is READ COMMITTED, and has
--                        found the snapshot good for a tick
--      i_snapshot        snapshot of the tick about to be made
--      i_position        its position of the event sequence
-- Returns:  number of ticks made; 0 with a warning if anything went wrong
-- Reads:    the backlog, once
-- Changes:  pgq.tick
-- Locks:    the row of pgq.queue against rotation; does nothing if rotation is at work
-- Used by:  pgq.ticker
declare
    -- Places looked at for a cut: stretches of the backlog's transaction ids, each with some ids at
    -- its start that are told apart.
    c_places    constant integer := 400;
    c_told      constant integer := 50;
    v_queue     record;
    v_last      record;
    v_from      bigint;
    v_stretch   bigint;
    v_told      bigint;
    v_chunk     bigint;
    v_tables    text;
    v_group     record;
    v_events    bigint := 0;
    v_running   bigint[];
    v_count     integer := 0;
begin
    -- Let L be the snapshot of the last tick and S the one at hand. A tick "at X", with
    -- xmax(L) <= X <= xmax(S), says that all transactions before X are over but those that S lists as
    -- running. What it shows contains what L shows and is contained in what S shows: ids that L shows are
    -- below xmax(L) and were over by L; ids below X that S does not list were over by S. So the batches
    -- that it makes of the batch from L to S share nothing and leave nothing out, and of no transaction
    -- that they hold is anything still to come.
    --
    -- Order. The one batch would be read in the order of ev_id. A cut at X is made only if in this backlog
    -- every event of a transaction below X has a lower ev_id than every event of the others; then the
    -- batches one after the other give the very order of the one. Without that, of two transactions that
    -- change a row one after the other the second may have the lower id, and would come first. Retried
    -- events come with old ids and in no order; they do not count here, and are in the one batch that
    -- their transaction belongs to.
    --
    -- Tables. Batches look into the previous table alone if they end below step1 of its switch. A
    -- transaction below X may have written to the present table after a switch above X: X is above step2,
    -- which is above step1, of the last switch, and no switch can come in before this transaction ends.
    -- A switch that comes later finds every transaction that these ticks show over, as with any tick.
    -- That above step2 nothing goes to the previous table is what step2 says.

    select q.queue_data_pfx, q.queue_ntables, q.queue_cur_table, q.queue_switch_step2, q.queue_tick_seq,
           greatest(20 * q.queue_ticker_max_count::bigint, 20) as chunk
      into v_queue
      from pgq.queue q
     where q.queue_id = i_queue_id
       and q.queue_switch_step2 is not null
       for share skip locked;
    if not found then
        return 0;
    end if;
    select t.tick_id, t.tick_time, t.tick_event_seq, t.tick_snapshot
      into v_last
      from pgq.tick t
     where t.tick_queue = i_queue_id
     order by t.tick_queue desc, t.tick_id desc
     limit 1;

    v_from := greatest(txid_snapshot_xmax(v_last.tick_snapshot), v_queue.queue_switch_step2 + 1);
    v_stretch := (txid_snapshot_xmax(i_snapshot) - v_from + c_places - 1) / c_places;
    if v_stretch <= 0 then
        return 0;
    end if;
    v_told := least(v_stretch, c_told);
    -- As pgq._batch_place says of the one batch.
    v_tables := format('select ev_txid, ev_owner, ev_id, ev_time from %s',
                       pgq.quote_fqname(v_queue.queue_data_pfx || '_' || v_queue.queue_cur_table));
    if txid_snapshot_xmin(v_last.tick_snapshot) <= v_queue.queue_switch_step2 then
        v_tables := format('%s union all select ev_txid, ev_owner, ev_id, ev_time from %s', v_tables,
                           pgq.quote_fqname(v_queue.queue_data_pfx || '_'
                                            || (v_queue.queue_cur_table + v_queue.queue_ntables - 1)
                                               % v_queue.queue_ntables));
    end if;

    -- Groups of transactions in the order of their ids: at a group's first id, txid, is a place for a
    -- cut, with "highest" the highest ev_id before it and "lowest" the lowest one from it on.
    for v_group in execute format($q$
        select g.txid, g.events,
               max(g.high) over before as highest,
               min(g.low) over (order by g.txid desc rows between unbounded preceding and current row) as lowest,
               max(g.until) over before as until
          from (select case
                           when e.ev_txid < $1 then 0
                           when (e.ev_txid - $1) %% $2 < $3 then e.ev_txid
                           else e.ev_txid - (e.ev_txid - $1) %% $2 + $3
                       end as txid,
                       count(*) as events, min(e.ev_id) as low, max(e.ev_id) as high, max(e.ev_time) as until
                  from (%s) e
                 where e.ev_txid >= txid_snapshot_xmin($4)
                   and e.ev_txid < $5
                   and (e.ev_txid >= txid_snapshot_xmax($4) or not txid_visible_in_snapshot(e.ev_txid, $4))
                   and e.ev_owner is null
                 group by 1) g
        window before as (order by g.txid rows between unbounded preceding and 1 preceding)
         order by g.txid $q$, v_tables)
        using v_from, v_stretch, v_told, v_last.tick_snapshot, txid_snapshot_xmax(i_snapshot)
    loop
        if v_events >= v_queue.chunk and v_group.highest < v_group.lowest then
            v_running := array(select x from txid_snapshot_xip(i_snapshot) x where x < v_group.txid order by x);
            v_last.tick_time := least(greatest(v_last.tick_time, v_group.until), now());
            v_last.tick_event_seq := least(greatest(v_last.tick_event_seq, v_group.highest), i_position);
            insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq, tick_snapshot)
            values (i_queue_id, nextval(pgq.quote_fqname(v_queue.queue_tick_seq)::regclass),
                    v_last.tick_time, v_last.tick_event_seq,
                    format('%s:%s:%s', coalesce(v_running[1], v_group.txid), v_group.txid,
                           array_to_string(v_running, ','))::txid_snapshot);
            v_count := v_count + 1;
            v_events := 0;
        end if;
        v_events := v_events + v_group.events;
    end loop;
    return v_count;
exception
    when others then
        -- One large batch is better than none.
        raise warning 'cannot divide the backlog of queue %: %', i_queue_id, sqlerrm;
        return 0;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
