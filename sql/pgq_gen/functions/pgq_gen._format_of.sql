create or replace function pgq_gen._format_of(i_function text)
returns text as $$
-- pgq_gen._format_of(1): format that a generic trigger function writes.
-- Parameters:
--      i_function      name of a function in pgq
-- Returns:  sql, urlenc or json; kinds for pgq.logtriga; null for any other function
-- Used by:  pgq.refresh_captures
    select case i_function when 'sqltriga' then 'sql' when 'logutriga' then 'urlenc' when 'jsontriga' then 'json'
                           when 'logtriga' then 'kinds' end;
$$ language sql immutable set search_path = pg_catalog, pg_temp;
