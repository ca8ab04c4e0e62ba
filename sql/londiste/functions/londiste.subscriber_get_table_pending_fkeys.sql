create or replace function londiste.subscriber_get_table_pending_fkeys(i_table_name text)
returns setof londiste.subscriber_pending_fkeys as $$
-- londiste.subscriber_get_table_pending_fkeys(1): dropped foreign keys from and to a table.
-- Parameters:
--      i_table_name    schema.table, raw
-- Returns:  rows of londiste.subscriber_pending_fkeys, ordered by table and name
select *
  from londiste.subscriber_pending_fkeys
 where from_table = i_table_name or to_table = i_table_name
 order by from_table, fkey_name;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
