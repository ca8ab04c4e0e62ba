create or replace function pgq_gen.encode_signs(i_value text)
returns text as $$
-- pgq_gen.encode_signs(1): encodes a value that holds more than letters, digits and spaces.
-- Parameters, Returns:      as for pgq_gen.encode
-- Used by:  pgq_gen.encode
declare
    v_value     pg_catalog.text := i_value;
begin
    if v_value operator(pg_catalog.~) '[^ -~]' then
        return pgq._urlencode(v_value);
    end if;
    -- The signs of the encoding first; what replaces a character holds none of the later ones. In groups, since
    -- each call that is not needed costs more than the look for its group.
    if v_value operator(pg_catalog.~) '[ %+]' then
        v_value := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(v_value,
            '%', '%25'), '+', '%2b'), ' ', '+');
    end if;
    if i_value operator(pg_catalog.~) '[!-*,/]' then
        v_value := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(v_value,
            '!', '%21'), '"', '%22'), '#', '%23'), '$', '%24'), '&', '%26'), '''', '%27'), '(', '%28'), ')', '%29'),
            '*', '%2a'), ',', '%2c'), '/', '%2f');
    end if;
    if i_value operator(pg_catalog.~) '[:-@]' then
        v_value := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(v_value,
            ':', '%3a'), ';', '%3b'), '<', '%3c'), '=', '%3d'), '>', '%3e'), '?', '%3f'), '@', '%40');
    end if;
    if i_value operator(pg_catalog.~) E'[\\[-^`{-~]' then
        v_value := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(v_value,
            '[', '%5b'), E'\\', '%5c'), ']', '%5d'), '^', '%5e'), '`', '%60'), '{', '%7b'), '|', '%7c'), '}', '%7d'),
            '~', '%7e');
    end if;
    return v_value;
end;
-- Without settings of its own, which would cost more than it does.
$$ language plpgsql stable;
