create or replace function londiste.find_column_types(tbl text)
returns text as $$
-- londiste.find_column_types(1): the roles of a table's columns, as pgq.logtriga takes them.
-- Parameters:
--      tbl         an existing table
-- Returns:  one letter per live column in attribute order: k primary key, i generated, v other
-- Raises:   undefined_table "table not found"
-- Used by:  provider_add_table, provider_refresh_trigger
select coalesce(string_agg(
            case when a.attnum = any (k.columns) then 'k'
                 when a.attgenerated <> '' then 'i'
                 else 'v'
            end, '' order by a.attnum), '')
  from (select londiste.find_table_oid(tbl) as oid) t
  -- indkey, not the index's own attributes: those keep their names when a column is renamed. Columns
  -- beyond indnkeyatts are INCLUDEd, no keys. indkey counts from 0.
  left join lateral (
        select array(select i.indkey[n] from generate_series(0, i.indnkeyatts - 1) n) as columns
          from pg_catalog.pg_index i
         where i.indrelid = t.oid and i.indisprimary) k on true
  join pg_catalog.pg_attribute a on a.attrelid = t.oid
 where a.attnum > 0 and not a.attisdropped;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;
