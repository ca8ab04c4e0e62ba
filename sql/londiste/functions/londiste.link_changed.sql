create or replace function londiste.link_changed(i_dest_name text)
returns boolean as $$
-- londiste.link_changed(1): tells the subscribers of a linked queue that its registration changed. A relay's
--           queue takes no events but those of its provider, and changes silently.
-- Parameters:
--      i_dest_name     queue of this database that continues a subscribed one
-- Returns:  whether there is an event
-- Reads:    pgq.queue
-- Changes:  as londiste.provider_notify_change
-- Used by:  londiste.link_table, londiste.subscriber_add_seq, londiste.subscriber_remove_seq
begin
    perform 1 from pgq.queue where queue_name = i_dest_name and queue_disable_insert;
    if found then
        return false;
    end if;
    perform londiste.provider_notify_change(i_dest_name);
    return true;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
