create or replace function londiste.subscriber_restore_table_trigger(i_table_name text, i_trigger_name text)
returns integer as $$
-- londiste.subscriber_restore_table_trigger(2): creates a trigger that londiste.subscriber_drop_table_trigger
--           dropped, enabled as it was.
-- Parameters:
--      i_table_name    schema.table, raw
--      i_trigger_name  name of the trigger
-- Returns:  1, or 0 if no such trigger is pending
-- Raises:   duplicate_object if it is back already, and whatever else the definition meets
-- Changes:  londiste.subscriber_pending_triggers
-- Locks:    SHARE ROW EXCLUSIVE on the table
declare
    v_trigger   londiste.subscriber_pending_triggers;
    v_table     text := londiste.quote_fqname(i_table_name);
begin
    delete from londiste.subscriber_pending_triggers
     where table_name = i_table_name and trigger_name = i_trigger_name
    returning * into v_trigger;
    if not found then
        return 0;
    end if;
    execute v_trigger.trigger_def;
    if v_trigger.trigger_enabled <> 'O' then
        execute format('alter table %s %s trigger %I', v_table,
                       case v_trigger.trigger_enabled
                            when 'D' then 'disable'
                            when 'R' then 'enable replica'
                            when 'A' then 'enable always'
                       end, i_trigger_name);
    end if;
    if v_trigger.trigger_comment is not null then
        execute format('comment on trigger %I on %s is %L', i_trigger_name, v_table, v_trigger.trigger_comment);
    end if;
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
