create or replace function londiste.refresh_stale_triggers()
returns integer as $$
-- londiste.refresh_stale_triggers(0): brings the captures of all queues up to date whose tables have
--           changed.
-- Returns:  how many
-- Raises:   what londiste.provider_refresh_trigger raises
-- Changes:  triggers, pgq.capture. A table that does not exist any more stays registered
-- Used by:  londiste.execute_finish, replay
declare
    v_table     record;
    v_count     integer := 0;
begin
    for v_table in
        select distinct q.queue_name, c.table_name
          from (select distinct t.queue_name from londiste.provider_table t) q
         cross join lateral londiste.provider_check(q.queue_name) c
         where c.problem = 'stale'
         order by 1, 2
    loop
        perform londiste.provider_refresh_trigger(v_table.queue_name, v_table.table_name);
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
