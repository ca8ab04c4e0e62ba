create or replace function londiste.wanted_triggers(i_table londiste.provider_table)
returns table (name text) as $$
-- londiste.wanted_triggers(1): names of the triggers that capture a registered table.
-- Parameters:
--      i_table     row of londiste.provider_table
-- Returns:  their names, as the server cuts them
-- Used by:  londiste.provider_check, londiste.stale_trigger
select i_table.trigger_name::name || e.ending
  from unnest(case i_table.capture_level when 'statement' then '{_insert,_update,_delete,_guard}'::text[]
                                         else '{""}' end) e (ending)
union all
select londiste.truncate_trigger_name(i_table.trigger_name)
 where i_table.capture_truncate;
$$ language sql stable set search_path = pg_catalog, pg_temp;
