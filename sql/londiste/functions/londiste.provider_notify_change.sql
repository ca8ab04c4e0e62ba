create or replace function londiste.provider_notify_change(i_queue_name text)
returns integer as $$
-- londiste.provider_notify_change(1): tells the subscribers which tables are left.
-- Parameters:
--      i_queue_name    an existing queue
-- Returns:  1
-- Changes:  an event of type T: the registered tables in order of registration, joined by commas; a name
--           with a comma, a quote or blanks at its ends is quoted as in CSV
declare
    v_list      text;
begin
    select coalesce(string_agg(
                case when table_name ~ '[,"]|^\s|\s$'
                     then '"' || replace(table_name, '"', '""') || '"'
                     else table_name
                end, ',' order by nr), '')
      into v_list
      from londiste.provider_table
     where queue_name = i_queue_name;
    perform pgq.insert_event(i_queue_name, 'T', v_list);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
