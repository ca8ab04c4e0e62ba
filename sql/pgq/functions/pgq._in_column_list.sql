create or replace function pgq._in_column_list(i_name text, i_list text)
returns boolean as $$
-- pgq._in_column_list(2): whether a trigger argument such as "ignore=a, b" names a column.
-- Parameters:
--      i_name      raw column name
--      i_list      the list
-- Returns:  true if the name stands in the list between commas, blanks or the ends; null for a
--           null list
-- Used by:  pgq._capture_columns
begin
    return strpos(i_list, i_name) > 0
       and i_list ~ ('(^|[,[:space:]])' || regexp_replace(i_name, '([^[:alnum:]_])', E'\\\\\\1', 'g')
                     || '($|[,[:space:]])');
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
