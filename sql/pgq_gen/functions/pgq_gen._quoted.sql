create or replace function pgq_gen._quoted(i_value text, i_type oid, i_pinned boolean)
returns text[] as $$
-- pgq_gen._quoted(3): how pg_catalog.format writes a column as a quoted literal.
-- Parameters:
--      as for pgq_gen._literal
-- Returns:  the letter of the directive, s or L, and the argument; L writes NULL for a null
-- Used by:  pgq_gen._values_code, pgq_gen._set_code, pgq_gen._where_code
    select case
        when i_pinned and pgq_gen._has_settings(i_type) then
            array['s', format('coalesce(%s, ''NULL'')', pgq_gen._literal(i_value, i_type, true))]
        else array['L', i_value]
    end;
$$ language sql stable set search_path = pg_catalog, pg_temp;
