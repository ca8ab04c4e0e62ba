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
    v_name  text := pgq.quote_fqname(i_seq_name);
    v_value bigint := pg_sequence_last_value(v_name::regclass);
begin
    if v_value is null then
        -- Also after setval(..., false).
        execute 'select case when is_called then last_value else last_value - 1 end from ' || v_name
           into v_value;
    end if;
    return v_value;
end;
-- A sequence is read whole, and callers may have switched that off.
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp set jit = off;
