create or replace function pgq._capture_row(i_format text, i_names text[], i_is_hidden boolean[], i_values text[])
returns text as $$
-- pgq._capture_row(4): writes a whole row.
-- Parameters:
--      i_format      json for a JSON object, else key=value pairs in which a bare key is a null
--      i_names, i_is_hidden      columns, from pgq._capture_columns
--      i_values      their values as text, JSON for json
-- Returns:  the row without its hidden columns
-- Used by:  pgq._capture_data
    select case
        when i_format = 'json' then
            '{' || coalesce(string_agg(to_json(c.name)::text || ':' || coalesce(c.value, 'null'), ',' order by c.n), '')
                || '}'
        else
            coalesce(string_agg(pgq._urlencode(c.name) || coalesce('=' || pgq._urlencode(c.value), ''), '&' order by c.n), '')
        end
      from unnest(i_names, i_values, i_is_hidden) with ordinality c (name, value, is_hidden, n)
     where not c.is_hidden;
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
