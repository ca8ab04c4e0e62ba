create or replace function pgq_gen.refuse_null_key()
returns text as $$
-- pgq_gen.refuse_null_key(0): refuses a row without a key, where an expression is needed.
-- Returns:  never
-- Raises:   "logtriga: Unexpected NULL key value"
-- Used by:  generated captures of statements
begin
    raise exception 'logtriga: Unexpected NULL key value';
end;
$$ language plpgsql volatile set search_path = pg_catalog, pg_temp;
