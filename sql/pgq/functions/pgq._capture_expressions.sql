create or replace function pgq._capture_expressions(
    i_expressions text[], i_names text[],
    out place integer, out query text, out literal text)
returns setof record as $$
-- pgq._capture_expressions(2): the expressions of a trigger's arguments, ready to evaluate.
-- Parameters:
--      i_expressions      of ev_type, ev_data, ev_extra1 to ev_extra4 and when; null where not given
--      i_names            columns
-- Returns:  a row per expression, in order: its place from 1; its query, or the value of one that is
--           merely a string
-- Raises:   "QB: syntax error"
-- Used by:  pgq._capture
    select e.place::integer,
           case when not e.is_literal then pgq._capture_expression(e.expression, i_names) end,
           case when e.is_literal
                then replace(substr(e.expression, 2, length(e.expression) - 2), '''''', '''') end
      from (select u.place, btrim(u.expression) as expression,
                   btrim(u.expression) ~ '^''(?:[^''\\]|'''')*''$' as is_literal
              from unnest(i_expressions) with ordinality u (expression, place)
             where u.expression is not null) e
     order by e.place;
$$ language sql immutable set search_path = pg_catalog, pgq, pg_temp;
