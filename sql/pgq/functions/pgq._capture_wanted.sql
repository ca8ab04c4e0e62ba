create or replace function pgq._capture_wanted(
    i_format text, i_ignores boolean, i_key_updates boolean,
    i_is_key boolean[], i_is_hidden boolean[], i_changed boolean[])
returns boolean as $$
-- pgq._capture_wanted(6): whether an UPDATE is an event.
-- Parameters:
--      i_format          sql, urlenc or json
--      i_ignores         whether the trigger was told to ignore columns
--      i_key_updates     whether a change of the key is an event, or an error
--      i_is_key, i_is_hidden, i_changed      columns
-- Returns:  false if only hidden columns changed. An update that changes nothing at all is an event; for
--           whole rows every update is, unless the trigger was told to ignore something
-- Raises:   "primary key update not allowed"
-- Used by:  pgq._capture
declare
    v_data      boolean := false;
    v_hidden    boolean := false;
begin
    for i in 1 .. cardinality(i_changed) loop
        if i_changed[i] then
            if i_is_key[i] and not i_key_updates then
                raise exception 'primary key update not allowed';
            end if;
            v_hidden := v_hidden or i_is_hidden[i];
            v_data := v_data or not i_is_hidden[i];
        end if;
    end loop;
    return v_data or not v_hidden or i_format <> 'sql' and not i_ignores;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
