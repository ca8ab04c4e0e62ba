create or replace function londiste.subscriber_drop_table_trigger(i_table_name text, i_trigger_name text)
returns integer as $$
-- londiste.subscriber_drop_table_trigger(2): drops a trigger and remembers it.
-- Parameters:
--      i_table_name    an existing table
--      i_trigger_name  name of the trigger
-- Returns:  1, or 0 if there is no such trigger
-- Raises:   undefined_table "table not found"
-- Changes:  londiste.subscriber_pending_triggers
-- Locks:    ACCESS EXCLUSIVE on the table
declare
    v_trigger   londiste.subscriber_pending_triggers;
begin
    select * into v_trigger
      from londiste.find_table_triggers(i_table_name)
     where trigger_name = i_trigger_name;
    if not found then
        return 0;
    end if;

    insert into londiste.subscriber_pending_triggers
    values (v_trigger.*)
    on conflict (table_name, trigger_name) do update
        set trigger_def = excluded.trigger_def,
            trigger_enabled = excluded.trigger_enabled,
            trigger_comment = excluded.trigger_comment;
    execute format('drop trigger %I on %s', i_trigger_name, londiste.quote_fqname(v_trigger.table_name));
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
