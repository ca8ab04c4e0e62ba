create or replace function londiste.subscriber_set_table_state(
    i_queue_name text, i_table_name text, i_snapshot text, i_merge_state text)
returns integer as $$
-- londiste.subscriber_set_table_state(4): overwrites state and snapshot of a subscribed table.
-- Parameters:
--      i_queue_name    queue it is subscribed from
--      i_table_name    a subscribed table
--      i_snapshot      snapshot of its copy, or null
--      i_merge_state   see londiste.subscriber_table; ok also clears skip_truncate
-- Returns:  1
-- Raises:   undefined_object "no such table"
-- Changes:  londiste.subscriber_table; on a linked queue what londiste.link_table changes
begin
    update londiste.subscriber_table
       set snapshot = i_snapshot,
           merge_state = i_merge_state,
           skip_truncate = case when i_merge_state = 'ok' then null else skip_truncate end
     where queue_name = i_queue_name and table_name = i_table_name;
    if not found then
        raise exception 'no such table: %', i_table_name
            using errcode = 'undefined_object';
    end if;

    perform londiste.link_table(i_queue_name, i_table_name);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
