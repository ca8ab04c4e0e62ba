create or replace function pgq._capture_type(
    i_format text, i_op text, i_schema text, i_table text, i_key_names text[], i_key_list text)
returns text as $$
-- pgq._capture_type(6): ev_type of a captured change.
-- Parameters:
--      i_format      sql, urlenc or json
--      i_op          INSERT, UPDATE, DELETE or TRUNCATE
--      i_schema, i_table      table
--      i_key_names   key columns
--      i_key_list    list of key columns as the trigger has it, or null; with its blanks and commas, unless the columns
--                    have other names by now
-- Returns:  a letter, with the key columns for urlenc; an object for json
-- Used by:  pgq._capture, pgq._capture_truncate
declare
    c_between   constant text := '[,[:space:]]+';
begin
    if i_format = 'json' then
        return '{"op":' || to_json(i_op)::text
            || ',"table":' || to_json(array[i_schema, i_table])::text
            || ',"pkey":' || to_json(i_key_names)::text || '}';
    elsif i_op = 'TRUNCATE' then
        return 'R';
    elsif i_format = 'urlenc' then
        if btrim(regexp_replace(i_key_list, c_between, ',', 'g'), ',')
           is distinct from regexp_replace(array_to_string(i_key_names, ','), c_between, ',', 'g') then
            i_key_list := null;
        end if;
        return left(i_op, 1) || ':' || coalesce(i_key_list, array_to_string(i_key_names, ','));
    end if;
    return left(i_op, 1);
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
