create or replace function pgq._unseen_tick(i_queue_id integer, i_last_tick bigint, i_seq_name text)
returns boolean as $$
-- pgq._unseen_tick(3): whether a tick was made since the snapshot of this transaction was taken.
-- Parameters:
--      i_queue_id       a queue; the caller holds its lock of the ticker
--      i_last_tick      newest tick that the snapshot shows; null: none
--      i_seq_name       its tick sequence: dotted name, unquoted
-- Returns:  false at READ COMMITTED, where every statement sees what the previous holder of the lock committed
-- Reads:    the sequence, which shows every session the same
-- Changes:  pgq.tick, for a moment
-- Used by:  pgq.ticker
declare
    v_taken     bigint;
begin
    if current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
        return false;
    end if;
    execute 'select case when is_called then last_value else 0 end from ' || pgq.quote_fqname(i_seq_name)
       into v_taken;
    -- The row is invisible here, but its id is taken.
    insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
    select i_queue_id, n, 0
      from generate_series(greatest(i_last_tick + 1, v_taken - 100), v_taken) n;
    delete from pgq.tick
     where tick_queue = i_queue_id
       and tick_id between greatest(i_last_tick + 1, v_taken - 100) and v_taken;
    return false;
exception
    when unique_violation then
        return true;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
