create or replace function pgq_gen._json_fields(i_names text[], i_types oid[], i_is_hidden boolean[])
returns text as $$
-- pgq_gen._json_fields(3): fields of a row that the server writes as JSON just as a capture does.
-- Parameters:
--      i_names, i_types, i_is_hidden      columns in table order
-- Returns:  what stands between the parentheses of CREATE TYPE: columns of which the server writes something else
--           are texts there. Null if the rows of the table themselves will do, or if there is no column
-- Used by:  pgq_gen._json_row, pgq_gen._write_row_type
    select case when bool_or(c.is_hidden or not pgq_gen._is_json(c.type)) then
               string_agg(format('%I pg_catalog.%I', c.name, case when pgq_gen._is_json(c.type) then t.typname else 'text' end),
                          ', ' order by c.place) filter (where not c.is_hidden)
           end
      from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
      join pg_type t on t.oid = c.type;
$$ language sql stable set search_path = pg_catalog, pg_temp;
