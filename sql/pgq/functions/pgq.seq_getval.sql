create or replace function pgq.seq_getval(i_seq_name text)
returns bigint as $$
-- pgq.seq_getval(1): reads a sequence without moving it.
-- Parameters:
--      i_seq_name      dotted name, unquoted
-- Returns:  its last_value, which is 1 both before and after the first nextval
-- Reads:    the sequence
-- Used by:  clients, replication of sequences
declare
    v_value bigint;
begin
    execute 'select last_value from ' || pgq.quote_fqname(i_seq_name) into v_value;
    return v_value;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
