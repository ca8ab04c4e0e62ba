create or replace function londiste.mirror_advance(i_queue_name text)
returns bigint as $$
-- londiste.mirror_advance(1): moves the event sequence of a relay's queue up to the events that this
--           transaction copied, so that the node can be promoted.
-- Parameters:
--      i_queue_name    a queue with ticks from outside
-- Returns:  position of the sequence; null without a queue
-- Reads:    the queue's current table
-- Changes:  the queue's event sequence
-- Used by:  replay of a relay
declare
    v_table     text := londiste.mirror_table(i_queue_name);
    v_max       bigint;
begin
    execute format('select max(ev_id) from %s where ev_txid = txid_current()', londiste.quote_fqname(v_table))
       into v_max;
    return (select pgq.seq_setval(q.queue_event_seq, coalesce(v_max, 0))
              from pgq.queue q
             where q.queue_name = i_queue_name);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
