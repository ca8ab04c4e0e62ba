create or replace function pgq_gen.encode(i_value text)
returns text as $$
-- pgq_gen.encode(1): encodes a value for a row of key=value pairs.
-- Parameters:
--      i_value      any text, in the collation "C"
-- Returns:  letters, digits, "_", "." and "-" as they are, "+" for a space, and "%xx" in lower case for
--           every other byte of the server encoding; null for null
-- Used by:  generated captures
    select case
        when pg_catalog.octet_length(i_value) operator(pg_catalog.<) 50000000
             and i_value operator(pg_catalog.!~) '[^A-Za-z0-9_. -]'
        then pg_catalog.replace(i_value, ' ', '+')
        else pgq_gen.encode_signs(i_value)
    end;
-- Without settings of its own, so that the planner puts its text in place of the call. The text is short: each
-- transaction prepares it for each column.
$$ language sql stable;
