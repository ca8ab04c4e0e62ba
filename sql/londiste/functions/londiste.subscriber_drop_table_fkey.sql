create or replace function londiste.subscriber_drop_table_fkey(i_from_table text, i_fkey_name text)
returns integer as $$
-- londiste.subscriber_drop_table_fkey(2): drops a foreign key and remembers it.
-- Parameters:
--      i_from_table    table that has the key, raw
--      i_fkey_name     its name
-- Returns:  1, or 0 if there is no such key
-- Raises:   undefined_table "table not found"
-- Changes:  londiste.subscriber_pending_fkeys
-- Locks:    ACCESS EXCLUSIVE on both tables
declare
    v_fkey      londiste.subscriber_pending_fkeys;
begin
    select * into v_fkey
      from londiste.find_table_fkeys(i_from_table)
     where from_table = londiste.rel_fqname(londiste.find_table_oid(i_from_table))
       and fkey_name = i_fkey_name;
    if not found then
        return 0;
    end if;

    insert into londiste.subscriber_pending_fkeys
    values (v_fkey.*)
    on conflict (from_table, fkey_name) do update
        set to_table = excluded.to_table,
            -- replay puts a key back unchecked first, and checks it then
            fkey_def = case when excluded.fkey_def = subscriber_pending_fkeys.fkey_def || ' NOT VALID'
                            then subscriber_pending_fkeys.fkey_def
                            else excluded.fkey_def end,
            fkey_comment = coalesce(excluded.fkey_comment, subscriber_pending_fkeys.fkey_comment);
    execute format('alter table %s%s drop constraint %I',
                   case when v_fkey.fkey_def like 'alter table only %' then 'only ' else '' end,
                   londiste.quote_fqname(v_fkey.from_table), i_fkey_name);
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
