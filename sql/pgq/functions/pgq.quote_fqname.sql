create or replace function pgq.quote_fqname(i_name text)
returns text as $$
-- pgq.quote_fqname(1): quotes a dotted name for SQL text, splitting it at the first dot.
-- Parameters:
--      i_name      schema.name or name, unquoted; without a dot the schema is public
-- Returns:  schema.name, each part quoted where needed; null for null
-- Used by:  whatever builds SQL from pgq.queue
    select case
        when strpos(i_name, '.') > 0 then
            quote_ident(split_part(i_name, '.', 1))
                || '.' || quote_ident(substr(i_name, strpos(i_name, '.') + 1))
        else
            'public.' || quote_ident(i_name)
    end;
$$ language sql immutable strict set search_path = pg_catalog, pgq, pg_temp;
