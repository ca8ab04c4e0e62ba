create or replace function pgq_gen._row_types(i_function text, out type regtype, out names text[])
returns setof record as $$
-- pgq_gen._row_types(1): types that pgq_gen._write_row_type made for a capture.
-- Parameters:
--      i_function      name of the capture's function
-- Returns:  type: the type; names: its fields in their order
-- Used by:  pgq_gen._write_row_type, pgq_gen._remove
    select c.reltype::regtype,
           array(select a.attname::text from pg_attribute a where a.attrelid = c.oid order by a.attnum)
      from pg_class c
     where c.relnamespace = 'pgq_gen'::regnamespace
       and c.relkind = 'c'
       and regexp_replace(c.relname, '_[0-9a-f]{8}$', '') = i_function;
$$ language sql stable set search_path = pg_catalog, pg_temp;
