create or replace function pgq._capture_row(
    i_format text, i_names text[], i_types oid[], i_is_hidden boolean[], i_values text[], i_json text[])
returns text as $$
-- pgq._capture_row(6): writes a whole row.
-- Parameters:
--      i_format      json for a JSON object, else key=value pairs in which a bare key is a null
--      i_names, i_types, i_is_hidden      columns
--      i_values      their text
--      i_json        for json what pgq._json_query gives
-- Returns:  the row without its hidden columns
-- Used by:  pgq._capture
declare
    v_parts text[] := '{}';
begin
    for i in 1 .. cardinality(i_names) loop
        continue when i_is_hidden[i];
        if i_format <> 'json' then
            v_parts := v_parts || (pgq._urlencode(i_names[i]) || coalesce('=' || pgq._urlencode(i_values[i]), ''));
        else
            v_parts := v_parts || (to_json(i_names[i])::text || ':' || case
                when i_values[i] is null then 'null'
                -- int2, int4, int8
                when i_types[i] in (20, 21, 23) then i_values[i]
                -- boolean, date, timestamp, timestamptz; a domain over them is text like all the rest
                when i_types[i] in (16, 1082, 1114, 1184) then i_json[i]
                else to_json(i_values[i])::text
            end);
        end if;
    end loop;
    if i_format = 'json' then
        return '{' || array_to_string(v_parts, ',') || '}';
    end if;
    return array_to_string(v_parts, '&');
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
