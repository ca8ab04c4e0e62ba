create or replace function londiste.provider_remove_table(i_queue_name text, i_table_name text)
returns integer as $$
-- londiste.provider_remove_table(2): ends the capture of a table and forgets it. Sends no event: a list of
--           removals is followed by one londiste.provider_notify_change.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table; table and trigger need not exist any more
-- Returns:  1
-- Raises:   "Linked queue, manipulation not allowed"; undefined_object "no such table registered"
-- Changes:  londiste.provider_table; drops the trigger (ACCESS EXCLUSIVE on the table)
declare
    v_trigger   text;
begin
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, manipulation not allowed'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    delete from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name
    returning trigger_name into v_trigger;
    if not found then
        raise exception 'no such table registered: %', i_table_name
            using errcode = 'undefined_object';
    end if;

    if v_trigger is not null then
        perform londiste.provider_drop_trigger(i_table_name, v_trigger);
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
