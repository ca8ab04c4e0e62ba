create or replace function pgq_gen._any_changed(
    i_new text, i_old text, i_names text[], i_types oid[], i_collations oid[], i_is_asked boolean[],
    i_by_text boolean)
returns text as $$
-- pgq_gen._any_changed(7): writes the condition under which an UPDATE changed one of some columns.
-- Parameters:
--      i_new, i_old    the rows: NEW and OLD
--      i_names, i_types, i_collations, i_is_asked     columns, and which of them to look at
--      i_by_text       as for pgq_gen._unchanged
-- Returns:  SQL of type boolean; null if no column is to be looked at
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
    select string_agg(pgq_gen._changed(pgq_gen._column(i_new, c.name), pgq_gen._column(i_old, c.name),
                                       c.type, c.collation_id, i_by_text),
                      ' or ' order by c.place)
      from unnest(i_names, i_types, i_collations, i_is_asked)
           with ordinality c (name, type, collation_id, is_asked, place)
     where c.is_asked;
$$ language sql stable set search_path = pg_catalog, pgq_gen, pg_temp;
