create or replace function londiste.short_name(i_name text, i_bytes integer)
returns text as $$
-- londiste.short_name(2): a name that the server does not cut.
-- Parameters:
--      i_name      any text
--      i_bytes     longest name allowed, at most 63
-- Returns:  the name; one that is too long is cut and ends in a hash of the whole instead
-- Used by:  londiste.trigger_name, londiste.truncate_trigger_name
declare
    v_start     text := i_name;
begin
    if octet_length(i_name) <= i_bytes then
        return i_name;
    end if;
    while octet_length(v_start) > i_bytes - 9 loop
        v_start := left(v_start, -1);
    end loop;
    return v_start || '_' || left(md5(i_name), 8);
end;
$$ language plpgsql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
