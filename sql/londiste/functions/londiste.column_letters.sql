create or replace function londiste.column_letters(i_table oid, i_index oid)
returns text as $$
-- londiste.column_letters(2): the roles of a table's columns.
-- Parameters:
--      i_table     a table
--      i_index     index whose columns are the key; null: there is no key
-- Returns:  one letter per live column in attribute order: k key, i generated, v other
-- Used by:  londiste.find_column_types
select coalesce(string_agg(
            case when a.attnum = any (k.columns) then 'k'
                 when a.attgenerated <> '' then 'i'
                 else 'v'
            end, '' order by a.attnum), '')
  from pg_catalog.pg_attribute a
  -- indkey, not the index's own attributes: those keep their names when a column is renamed. Columns
  -- beyond indnkeyatts are INCLUDEd, no keys. indkey counts from 0.
  left join lateral (
        select (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1] as columns
          from pg_catalog.pg_index i
         where i.indexrelid = i_index) k on true
 where a.attrelid = i_table and a.attnum > 0 and not a.attisdropped;
$$ language sql stable set search_path = pg_catalog, pg_temp;
