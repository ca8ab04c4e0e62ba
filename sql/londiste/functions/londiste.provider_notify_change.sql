create or replace function londiste.provider_notify_change(i_queue_name text)
returns integer as $$
-- londiste.provider_notify_change(1): tells the subscribers which tables are left.
-- Parameters:
--      i_queue_name    an existing queue
-- Returns:  1
-- Changes:  an event of type T: the registered tables in order of registration, joined by commas; a name
--           with a comma, a quote or blanks at its ends is quoted as in CSV; ev_extra1 is the last nr of
--           londiste.provider_table given out before it
declare
    v_list      text;
begin
    select coalesce(string_agg(
                case when table_name ~ E'[,"]|^\\s|\\s$'
                     then '"' || replace(table_name, '"', '""') || '"'
                     else table_name
                end, ',' order by nr), '')
      into v_list
      from londiste.provider_table
     where queue_name = i_queue_name;
    -- Which registrations the list knows of: a table registered later is not missing in it.
    perform pgq.insert_event(
        i_queue_name, 'T', v_list,
        coalesce(pg_sequence_last_value(pg_get_serial_sequence('londiste.provider_table', 'nr')), 0)::text,
        null, null, null);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
