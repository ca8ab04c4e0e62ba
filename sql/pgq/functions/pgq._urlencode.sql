create or replace function pgq._urlencode(i_value text)
returns text as $$
-- pgq._urlencode(1): encodes a name or value for a row of key=value pairs.
-- Parameters:
--      i_value      any text
-- Returns:  letters, digits, "_", "." and "-" as they are, "+" for a space, and "%xx" in lower case for
--           every other byte of the server encoding; null for null
-- Used by:  pgq._capture_row
declare
    v_value text := i_value;
    v_char  text;
begin
    if v_value !~ '[^A-Za-z0-9_.-]' collate "C" then
        return v_value;
    end if;
    -- The signs of the encoding first; what replaces a character holds none of the others.
    v_value := replace(v_value, '%', '%25');
    v_value := replace(v_value, '+', '%2b');
    v_value := replace(v_value, ' ', '+');
    for v_char in
        select distinct m[1] from regexp_matches(i_value collate "C", '[^A-Za-z0-9_. +%-]', 'g') m
    loop
        v_value := replace(v_value collate "C", v_char,
                           regexp_replace(encode(convert_to(v_char, getdatabaseencoding()), 'hex'),
                                          '(..)', E'%\\1', 'g'));
    end loop;
    return v_value;
end;
$$ language plpgsql stable strict set search_path = pg_catalog, pgq, pg_temp;
