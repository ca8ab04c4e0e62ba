create or replace function pgq._table_columns(
    i_table oid, out names text[], out types oid[], out collations oid[], out key_names text[])
as $$
-- pgq._table_columns(1): columns of a table, as the catalogue has them.
-- Parameters:
--      i_table      table
-- Returns:  arrays over the live columns in table order; key_names: the primary key in the order of its
--           index, empty if there is none
-- Reads:    pg_attribute, pg_index, as the transaction's snapshot shows them
-- Used by:  pgq._capture, pgq._capture_truncate, pgq_gen._function
declare
    v_numbers   smallint[];
    v_primary   smallint[];
begin
    select array_agg(a.attname::text order by a.attnum), array_agg(a.atttypid order by a.attnum),
           array_agg(a.attcollation order by a.attnum), array_agg(a.attnum order by a.attnum)
      into names, types, collations, v_numbers
      from pg_attribute a
     where a.attrelid = i_table
       and a.attnum > 0
       and not a.attisdropped;
    names := coalesce(names, '{}');
    key_names := '{}';
    -- By number: the index keeps the old name of a renamed column. Behind the key stand columns that the
    -- index merely includes.
    select (i.indkey::smallint[])[0:i.indnkeyatts - 1] into v_primary
      from pg_index i
     where i.indrelid = i_table
       and i.indisprimary;
    for i in 1 .. coalesce(cardinality(v_primary), 0) loop
        key_names := key_names || names[array_position(v_numbers, v_primary[i])];
    end loop;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
