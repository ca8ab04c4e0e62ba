create or replace function londiste.truncate_trigger_name(i_trigger_name text)
returns text as $$
-- londiste.truncate_trigger_name(1): name of the trigger that captures TRUNCATE.
-- Parameters:
--      i_trigger_name  name of the capture of rows
-- Returns:  <trigger>_truncate, cut as londiste.short_name does
select londiste.short_name(i_trigger_name || '_truncate', 63);
$$ language sql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
