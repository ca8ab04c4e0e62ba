create or replace function pgq._urlencode(i_value text)
returns text as $$
-- pgq._urlencode(1): encodes a name or value for a row of key=value pairs.
-- Parameters:
--      i_value      any text
-- Returns:  letters, digits, "_", "." and "-" as they are, "+" for a space, and "%xx" in lower case for
--           every other byte of the server encoding; null for null
-- Used by:  pgq._capture_row, pgq_gen.encode_signs
declare
    c_plain constant text := 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-';
    c_many  constant integer := 40;
    v_value text collate "C" := i_value;
    v_half  integer;
    v_plain text;
    v_chars text[];
    v_char  text;
begin
    if octet_length(v_value) > 10000000 then
        -- In parts: regular expressions take four bytes a character.
        v_half := length(v_value) / 2;
        return pgq._urlencode(left(v_value, v_half)) || pgq._urlencode(substr(v_value, v_half + 1));
    elsif v_value !~ '[^A-Za-z0-9_.-]' then
        return v_value;
    end if;
    v_chars := string_to_array(regexp_replace(v_value, '[A-Za-z0-9_. +%-]+', '', 'g'), null);
    if cardinality(v_chars) > 5 * c_many then
        v_chars := array(select distinct c from unnest(v_chars) c);
    end if;
    if cardinality(v_chars) < c_many then
        -- The signs of the encoding first; what replaces a character holds none of the others.
        v_value := replace(replace(replace(v_value, '%', '%25'), '+', '%2b'), ' ', '+');
        foreach v_char in array v_chars loop
            v_value := replace(v_value, v_char,
                               regexp_replace(encode(convert_to(v_char, getdatabaseencoding()), 'hex'),
                                              '(..)', E'%\\1', 'g'));
        end loop;
        return v_value;
    end if;
    -- Text of another script: encode all of it, and put back what need not be.
    v_plain := regexp_replace(v_value, '[^A-Za-z0-9_.-]+', '', 'g');
    if length(v_plain) > length(c_plain) then
        v_plain := c_plain;
    end if;
    v_value := regexp_replace(encode(convert_to(v_value, getdatabaseencoding()), 'hex'), '(..)', E'%\\1', 'g');
    foreach v_char in array string_to_array(v_plain, null) loop
        v_value := replace(v_value, '%' || to_hex(ascii(v_char)), v_char);
    end loop;
    return replace(v_value, '%20', '+');
end;
$$ language plpgsql stable strict set search_path = pg_catalog, pgq, pg_temp;
