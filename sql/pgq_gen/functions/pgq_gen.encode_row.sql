create or replace function pgq_gen.encode_row(i_row text, i_values text)
returns text as $$
-- pgq_gen.encode_row(2): encodes the values in a row of key=value pairs.
-- Parameters:
--      i_row         pairs whose keys and values hold printable ASCII characters, and & and = only between them
--      i_values      what the row holds beside letters, digits, dates, numbers and blanks is in here, too
-- Returns:  letters, digits, "_", ".", "-", "&" and "=" as they are, "+" for a space, and "%xx" in lower case for
--           every other character; null for null
-- Used by:  generated captures, pgq_gen.encode_signs
declare
    v_row   pg_catalog.text collate pg_catalog."C" := i_row;
begin
    -- The signs of the encoding first; what replaces a character holds none of the later ones. In groups, since
    -- each call that is not needed costs more than the look for its group.
    v_row := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(v_row,
        '%', '%25'), '+', '%2b'), ' ', '+'), ':', '%3a'), '/', '%2f');
    if i_values operator(pg_catalog.~) E'[!"\'(),;?@]' then
        v_row := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(v_row,
            '!', '%21'), '"', '%22'), '''', '%27'), '(', '%28'), ')', '%29'), ',', '%2c'), ';', '%3b'), '?', '%3f'),
            '@', '%40');
    end if;
    if i_values operator(pg_catalog.~) E'[][#$*<>\\\\^`{-~]' then
        v_row := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(v_row,
            '#', '%23'), '$', '%24'), '*', '%2a'), '<', '%3c'), '>', '%3e'), '[', '%5b'), E'\\', '%5c'), ']', '%5d'),
            '^', '%5e'), '`', '%60'), '{', '%7b'), '|', '%7c'), '}', '%7d'), '~', '%7e');
    end if;
    return v_row;
end;
-- Without settings of its own, which would cost more than it does.
$$ language plpgsql stable;
