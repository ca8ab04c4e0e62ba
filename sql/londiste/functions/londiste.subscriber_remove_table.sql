create or replace function londiste.subscriber_remove_table(i_queue_name text, i_table text)
returns integer as $$
-- londiste.subscriber_remove_table(2): ends the subscription of a table; its rows stay.
-- Parameters:
--      i_queue_name    queue it was subscribed from
--      i_table         a subscribed table
-- Returns:  0
-- Raises:   undefined_object "no such table"
-- Changes:  londiste.subscriber_table; on a linked queue what londiste.link_table changes
begin
    delete from londiste.subscriber_table
     where queue_name = i_queue_name and table_name = i_table;
    if not found then
        raise exception 'no such table: %', i_table
            using errcode = 'undefined_object';
    end if;
    perform londiste.link_table(i_queue_name, i_table);
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
