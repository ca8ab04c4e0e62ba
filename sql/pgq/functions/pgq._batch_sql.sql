create or replace function pgq._batch_sql(i_batch_id bigint, i_event_id bigint)
returns text as $$
-- pgq._batch_sql(2): query for the events of a batch, in no order.
-- Parameters:
--      i_batch_id      an open batch
--      i_event_id      event to look for; null: all
-- Returns:  text of a SELECT of the ten event columns, made of constants: the planner sees how narrow
--           the range of transactions is, and nothing is looked up for each event
-- Raises:   "batch not found"; "could not construct sql for batch ..."
-- Reads:    pgq.subscription, pgq.tick
-- Used by:  pgq.batch_event_sql, pgq.get_batch_cursor, pgq.event_retry, pgq.event_failed
declare
    c_columns   constant text := 'ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data,'
                                 ' ev_extra1, ev_extra2, ev_extra3, ev_extra4';
    v_batch     record;
    v_low       bigint;
    v_txid      bigint;
    v_late      text[] := '{}';
    v_filter    text;
    v_table     text;
    v_parts     text[] := '{}';
begin
    v_batch := pgq._batch_place(i_batch_id);
    if v_batch.queue_id is null then
        raise exception 'batch not found';
    end if;

    -- Transactions that ran at the first tick and had ended at the second belong to the batch too.
    -- Those close to its range widen the range, the others are probed one by one: the cost does not
    -- depend on the age of the oldest.
    v_low := txid_snapshot_xmax(v_batch.last_snapshot);
    for v_txid in
        select x from txid_snapshot_xip(v_batch.last_snapshot) x
        except
        select x from txid_snapshot_xip(v_batch.next_snapshot) x
        order by 1 desc
    loop
        if v_txid >= v_low - 100 then
            v_low := v_txid;
        else
            v_late := v_late || v_txid::text;
        end if;
    end loop;

    v_filter := format(' and (ev.ev_owner is null or ev.ev_owner = %s)', v_batch.owner_id);
    if i_event_id is not null then
        v_filter := v_filter || format(' and ev.ev_id = %s', i_event_id);
    end if;
    foreach v_table in array v_batch.tables loop
        v_table := pgq.quote_fqname(v_table);
        v_parts := v_parts || format(
            'select %s from %s ev where ev.ev_txid >= %s and ev.ev_txid <= %s'
            ' and pg_catalog.txid_visible_in_snapshot(ev.ev_txid, %L)'
            ' and not pg_catalog.txid_visible_in_snapshot(ev.ev_txid, %L)%s',
            c_columns, v_table, v_low, txid_snapshot_xmax(v_batch.next_snapshot),
            v_batch.next_snapshot, v_batch.last_snapshot, v_filter);
        if v_late <> '{}' then
            v_parts := v_parts || format('select %s from %s ev where ev.ev_txid in (%s)%s',
                                         c_columns, v_table, array_to_string(v_late, ', '), v_filter);
        end if;
    end loop;
    if v_parts = '{}' then
        raise exception 'could not construct sql for batch %', i_batch_id;
    end if;
    return array_to_string(v_parts, ' union all ');
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
