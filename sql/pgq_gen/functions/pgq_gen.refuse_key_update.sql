create or replace function pgq_gen.refuse_key_update()
returns text as $$
-- pgq_gen.refuse_key_update(0): refuses an UPDATE, where an expression is needed.
-- Returns:  never
-- Raises:   "primary key update not allowed"
-- Used by:  generated captures of statements
begin
    raise exception 'primary key update not allowed';
end;
$$ language plpgsql volatile set search_path = pg_catalog, pg_temp;
