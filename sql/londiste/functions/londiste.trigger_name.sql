create or replace function londiste.trigger_name(i_queue_name text)
returns text as $$
-- londiste.trigger_name(1): name of the trigger that captures changes for a queue.
-- Parameters:
--      i_queue_name    any text
-- Returns:  <queue>_logger, lower case, dots replaced by _; a name that the server would cut at 63 bytes
--           is cut shorter and ends in a hash of the whole instead
declare
    v_name      text := replace(lower(i_queue_name || '_logger'), '.', '_');
    v_start     text := v_name;
begin
    if octet_length(v_name) <= 63 then
        return v_name;
    end if;
    while octet_length(v_start) > 54 loop
        v_start := left(v_start, -1);
    end loop;
    return v_start || '_' || left(md5(i_queue_name), 8);
end;
$$ language plpgsql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
