create or replace function pgq_gen.encode(i_value text)
returns text as $$
-- pgq_gen.encode(1): encodes a value for a row of key=value pairs.
-- Parameters:
--      i_value      any text, in the collation "C"
-- Returns:  letters, digits, "_", "." and "-" as they are, "+" for a space, and "%xx" in lower case for
--           every other byte of the server encoding; null for null
-- Used by:  generated captures
    select case
        when i_value operator(pg_catalog.!~) '[^A-Za-z0-9_. -]'
        then pg_catalog.replace(i_value, ' ', '+')
        -- The signs of the encoding first; what replaces a character holds none of the later ones.
        when i_value operator(pg_catalog.!~) '[^ -~]'
        then
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(i_value, '%', '%25'), '+', '%2b'), ' ', '+')
            , '!', '%21'), '"', '%22'), '#', '%23'), '$', '%24'), '&', '%26'), '''', '%27')
            , '(', '%28'), ')', '%29'), '*', '%2a'), ',', '%2c'), '/', '%2f'), ':', '%3a')
            , ';', '%3b'), '<', '%3c'), '=', '%3d'), '>', '%3e'), '?', '%3f'), '@', '%40')
            , '[', '%5b'), E'\\', '%5c'), ']', '%5d'), '^', '%5e'), '`', '%60'), '{', '%7b')
            , '|', '%7c'), '}', '%7d'), '~', '%7e')
        else pgq._urlencode(i_value)
    end;
-- Without settings of its own, so that the planner puts its text in place of the call.
$$ language sql stable;
