create or replace function londiste.subscriber_set_skip_truncate(i_queue text, i_table text, i_value boolean)
returns integer as $$
-- londiste.subscriber_set_skip_truncate(3): says whether the copy of a table keeps the rows that are there.
-- Parameters:
--      i_queue         queue it is subscribed from
--      i_table         a subscribed table
--      i_value         true keeps them
-- Returns:  1
-- Raises:   undefined_object "table not found"
-- Changes:  londiste.subscriber_table
begin
    update londiste.subscriber_table
       set skip_truncate = i_value
     where queue_name = i_queue and table_name = i_table;
    if not found then
        raise exception 'table not found: %', i_table
            using errcode = 'undefined_object';
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
