create or replace function londiste.provider_refresh_trigger(i_queue_name text, i_table_name text)
returns integer as $$
-- londiste.provider_refresh_trigger(2): brings the capture of a registered table up to date, after columns
--           were added, dropped or got other roles. Triggers of an older version are exchanged.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table
-- Returns:  1
-- Raises:   "table not found"; "need key column"; what londiste.provider_create_trigger raises
begin
    return londiste.provider_refresh_trigger(
        i_queue_name, i_table_name, londiste.provider_column_types(i_queue_name, i_table_name));
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;

create or replace function londiste.provider_refresh_trigger(i_queue_name text, i_table_name text, i_col_types text)
returns integer as $$
-- londiste.provider_refresh_trigger(3): as the short form, with given column roles.
-- Parameters:
--      i_queue_name    queue the table is registered for
--      i_table_name    a registered table
--      i_col_types     as londiste.find_column_types gives them
-- Returns:  1
-- Raises:   "table not found"; "Linked queue, manipulation not allowed"; "need key column"; what
--           londiste.provider_create_trigger raises
-- Changes:  triggers of the table, pgq.capture; londiste.provider_table, if an older version left another
--           name
-- Locks:    SHARE ROW EXCLUSIVE on the table; ACCESS EXCLUSIVE if the triggers change, not just the
--           function they call
declare
    v_table     londiste.provider_table;
    v_name      text;
begin
    select * into v_table
      from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name
       for update;
    if not found then
        raise exception 'table not found: % is not registered', i_table_name
            using errcode = 'undefined_object';
    end if;
    if v_table.trigger_name is null then
        raise exception 'Linked queue, manipulation not allowed'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    if position('k' in i_col_types) = 0 and not v_table.insert_only then
        raise exception 'need key column'
            using errcode = 'invalid_table_definition',
                  detail = format('Table %s has no primary key any more.', i_table_name);
    end if;

    v_name := londiste.trigger_name(i_queue_name, v_table.capture_level);
    if v_table.trigger_name is distinct from v_name then
        perform londiste.provider_drop_trigger(i_table_name, v_table.trigger_name);
        update londiste.provider_table
           set trigger_name = v_name
         where queue_name = i_queue_name and table_name = i_table_name;
    elsif to_regclass('pgq.capture') is not null then
        -- In a restored database the table is another one, and nobody knows its trigger.
        if not exists (select from pgq.capture c
                        where c.cap_relid = londiste.find_table_oid(i_table_name) and c.cap_trigger = v_name) then
            perform londiste.provider_drop_trigger(i_table_name, v_name);
        end if;
    end if;
    return londiste.provider_create_trigger(i_queue_name, i_table_name, i_col_types);
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
