-- Removes Londiste from a database: registrations, positions and the triggers of registered tables.
-- Foreign keys and triggers that wait to come back are lost: londiste.subscriber_pending_* lists them.

do $$
declare
    v_table     record;
begin
    for v_table in
        select t.queue_name, t.table_name from londiste.provider_table t
         where t.trigger_name is not null
    loop
        perform londiste.provider_remove_table(v_table.queue_name, v_table.table_name);
    end loop;
end;
$$;

drop schema londiste cascade;
