create or replace function londiste.link_table(i_queue_name text, i_table_name text)
returns boolean as $$
-- londiste.link_table(2): keeps the registration of a table on a linked queue in step with its subscription.
--           It is registered while it is ok without a snapshot: with one its rows are ahead of the events of
--           the linked queue, and a copy of it would get changes twice.
-- Parameters:
--      i_queue_name    subscribed queue
--      i_table_name    table, subscribed or not any more
-- Returns:  whether the registration changed
-- Changes:  on a linked queue londiste.provider_table, and what londiste.link_changed changes
-- Used by:  londiste.subscriber_set_table_state, londiste.subscriber_remove_table
declare
    v_dest      text := londiste.link_dest(i_queue_name);
    v_changed   boolean;
begin
    if v_dest is null then
        return false;
    end if;
    if exists (select 1 from londiste.subscriber_table
                where queue_name = i_queue_name and table_name = i_table_name
                  and merge_state = 'ok' and snapshot is null)
    then
        insert into londiste.provider_table (queue_name, table_name)
        values (v_dest, i_table_name)
            on conflict do nothing;
    else
        delete from londiste.provider_table
         where queue_name = v_dest and table_name = i_table_name;
    end if;
    v_changed := found;
    if v_changed then
        perform londiste.link_changed(v_dest);
    end if;
    return v_changed;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
