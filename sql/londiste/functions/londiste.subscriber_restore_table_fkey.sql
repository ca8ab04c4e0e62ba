create or replace function londiste.subscriber_restore_table_fkey(i_from_table text, i_fkey_name text)
returns integer as $$
-- londiste.subscriber_restore_table_fkey(2): creates a foreign key that londiste.subscriber_drop_table_fkey
--           dropped.
-- Parameters:
--      i_from_table    table that had the key, raw
--      i_fkey_name     its name
-- Returns:  1, or 0 if no such key is pending
-- Raises:   foreign_key_violation and whatever else the definition meets
-- Changes:  londiste.subscriber_pending_fkeys
-- Locks:    SHARE ROW EXCLUSIVE on both tables, while the rows are checked
declare
    v_fkey      londiste.subscriber_pending_fkeys;
begin
    delete from londiste.subscriber_pending_fkeys
     where from_table = i_from_table and fkey_name = i_fkey_name
    returning * into v_fkey;
    if not found then
        return 0;
    end if;
    execute v_fkey.fkey_def;
    if v_fkey.fkey_comment is not null then
        execute format('comment on constraint %I on %s is %L',
                       i_fkey_name, londiste.quote_fqname(i_from_table), v_fkey.fkey_comment);
    end if;
    return 1;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;
