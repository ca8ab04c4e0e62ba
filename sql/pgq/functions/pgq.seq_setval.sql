create or replace function pgq.seq_setval(i_seq_name text, i_new_value bigint)
returns bigint as $$
-- pgq.seq_setval(2): moves a sequence forward, never back.
-- Parameters:
--      i_seq_name      dotted name, unquoted
--      i_new_value     value it has given out at least
-- Returns:  the resulting last_value
-- Changes:  the sequence
-- Used by:  pgq.ticker, replication of sequences
declare
    v_name  text := pgq.quote_fqname(i_seq_name);
    v_value bigint;
    v_given boolean;
begin
    execute 'select last_value, is_called from ' || v_name into v_value, v_given;
    -- A virgin sequence shows its first value without having given it out.
    if i_new_value > v_value or i_new_value = v_value and not v_given then
        v_value := setval(v_name::regclass, i_new_value);
    end if;
    return v_value;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
