create or replace function pgq_gen._json_row(
    i_function text, i_row text, i_names text[], i_types oid[], i_is_hidden boolean[])
returns text as $$
-- pgq_gen._json_row(5): writes the expression for the row that is turned into JSON.
-- Parameters:
--      i_function      function of the capture
--      i_row           the row: NEW or OLD
--      i_names, i_types, i_is_hidden      columns in table order
-- Returns:  SQL of a row type: the row itself, or one of the type that pgq_gen._write_row_type makes; null if no
--           column is shown
-- Used by:  pgq_gen._row_data_code
    select case
        when true <> all (i_is_hidden) and f.fields is null then i_row
        when f.fields is not null then
            format('row(%s)::pgq_gen.%I',
                   (select string_agg(case when pgq_gen._is_json(c.type) then pgq_gen._column(i_row, c.name)
                                           else pgq_gen._text(pgq_gen._column(i_row, c.name), c.type, false) end,
                                      ', ' order by c.place)
                      from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
                     where not c.is_hidden),
                   pgq_gen._row_type(i_function, f.fields))
    end
      from pgq_gen._json_fields(i_names, i_types, i_is_hidden) f (fields);
$$ language sql stable set search_path = pg_catalog, pg_temp;
