create or replace function londiste.subscriber_get_table_pending_triggers(i_table_name text)
returns setof londiste.subscriber_pending_triggers as $$
-- londiste.subscriber_get_table_pending_triggers(1): dropped triggers of a table.
-- Parameters:
--      i_table_name    schema.table, raw
-- Returns:  rows of londiste.subscriber_pending_triggers, ordered by name
select *
  from londiste.subscriber_pending_triggers
 where table_name = i_table_name
 order by trigger_name;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
