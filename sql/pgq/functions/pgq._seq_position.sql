create or replace function pgq._seq_position(i_seq_name text)
returns bigint as $$
-- pgq._seq_position(1): last value that a sequence gave out.
-- Parameters:
--      i_seq_name      dotted name, unquoted
-- Returns:  last_value, or one less than the first value if none was given out yet: the first event
--           of a queue counts as new
-- Reads:    the sequence
-- Used by:  pgq.ticker, pgq.get_queue_info
declare
    v_value bigint;
begin
    execute 'select case when is_called then last_value else last_value - 1 end from '
            || pgq.quote_fqname(i_seq_name)
       into v_value;
    return v_value;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
