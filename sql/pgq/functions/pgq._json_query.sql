create or replace function pgq._json_query(i_names text[], i_types oid[])
returns text as $$
-- pgq._json_query(2): query for the columns of a row that JSON writes in a form of its own.
-- Parameters:
--      i_names, i_types      columns
-- Returns:  text of a SELECT over row $1: an array with the JSON of booleans, dates and timestamps, null for
--           all other columns. Those are left alone: a type may bring a cast to JSON along, which is code of
--           its owner
-- Used by:  pgq._capture
    -- Nothing is aggregated for a table without columns.
    select concat('select array[', string_agg(
               case when c.type in ('boolean'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
                    then format('pg_catalog.to_json(($1).%I)::pg_catalog.text', c.name) else 'null' end,
               ', ' order by c.place), ']::pg_catalog.text[]')
      from unnest(i_names, i_types) with ordinality c (name, type, place);
$$ language sql stable set search_path = pg_catalog, pgq, pg_temp;
