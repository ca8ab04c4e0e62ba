create or replace function londiste.subscriber_set_provider_nr(i_queue_name text, i_table_name text, i_nr integer)
returns integer as $$
-- londiste.subscriber_set_provider_nr(3): remembers which registration of the provider a table follows.
-- Parameters:
--      i_queue_name    queue the table is subscribed from
--      i_table_name    a subscribed table
--      i_nr            nr of londiste.provider_table on the provider; null: not known
-- Returns:  1
-- Raises:   undefined_object "no such table"
-- Changes:  londiste.subscriber_table
-- Used by:  subscriber add
begin
    update londiste.subscriber_table
       set provider_nr = i_nr
     where queue_name = i_queue_name and table_name = i_table_name;
    if not found then
        raise exception 'no such table: %', i_table_name using errcode = 'undefined_object';
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
