create or replace function pgq._text_decides(i_type oid, i_collation oid, i_same_text boolean)
returns boolean as $$
-- pgq._text_decides(3): whether two values can be compared by their text, in place of the equality of
-- their type.
-- Parameters:
--      i_type, i_collation      of the column
--      i_same_text              whether the two texts are the same
-- Returns:  false if the equality has to be asked: 1.0 and 1.00 are equal
-- Reads:    pg_type, pg_collation
-- Used by:  pgq._capture_changes
begin
    if i_same_text then
        -- Fewer digits than it takes make different floats read the same.
        return i_type not in (700, 701) or current_setting('extra_float_digits')::integer > 0;
    end if;
    -- boolean, bytea, int2, int4, int8, oid, date, time, timestamp, timestamptz, uuid
    return i_type in (16, 17, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 2950)
        -- text, varchar
        or i_type in (25, 1043)
           and (i_collation in (0, 100, 950)
                or (select collisdeterministic from pg_collation where oid = i_collation))
        or not pgq._has_equality(i_type);
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
