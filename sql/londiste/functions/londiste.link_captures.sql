create or replace function londiste.link_captures(i_queue_name text, i_tables jsonb)
returns integer as $$
-- londiste.link_captures(2): notes how the provider captures the tables that a relay publishes, so that the
--           relay does it the same way when it is promoted.
-- Parameters:
--      i_queue_name    a relay's queue
--      i_tables        the provider's rows of londiste.provider_table, as a list; what an older version
--                      does not say is the default
-- Returns:  number of tables for which that changed
-- Changes:  londiste.provider_table
-- Used by:  replay of a relay
declare
    v_count     integer;
begin
    if londiste.link_source(i_queue_name) is null then
        return 0;
    end if;
    update londiste.provider_table t
       set capture_level = coalesce(c.capture_level, 'row'),
           capture_truncate = coalesce(c.capture_truncate, false),
           key_index = c.key_index,
           insert_only = coalesce(c.insert_only, false)
      from jsonb_to_recordset(i_tables) as c (
                table_name text, capture_level text, capture_truncate boolean, key_index text, insert_only boolean)
     where t.queue_name = i_queue_name
       and t.table_name = c.table_name
       and (t.capture_level, t.capture_truncate, t.insert_only, t.key_index)
           is distinct from (coalesce(c.capture_level, 'row'), coalesce(c.capture_truncate, false),
                             coalesce(c.insert_only, false), c.key_index);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
