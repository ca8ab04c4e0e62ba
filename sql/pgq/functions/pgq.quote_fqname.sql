create or replace function pgq.quote_fqname(i_name text)
returns text as $$
-- pgq.quote_fqname(1): quotes a dotted name for SQL text, splitting it at the first dot.
-- Parameters:
--      i_name      schema.name or name, unquoted; without a dot the schema is public
-- Returns:  schema.name, each part quoted where needed; null for null
-- Used by:  whatever builds SQL from pgq.queue
declare
    v_dot   integer := strpos(i_name, '.');
begin
    if v_dot = 0 then
        return 'public.' || quote_ident(i_name);
    end if;
    return quote_ident(left(i_name, v_dot - 1)) || '.' || quote_ident(substr(i_name, v_dot + 1));
end;
$$ language plpgsql immutable strict set search_path = pg_catalog, pgq, pg_temp;
