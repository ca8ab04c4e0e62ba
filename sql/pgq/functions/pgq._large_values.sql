create or replace function pgq._large_values(i_table oid, i_row anyelement, i_pinned boolean)
returns text[] as $$
-- pgq._large_values(3): text of the columns of a row, one by one: the server cannot take apart the text of a whole row
-- of hundreds of megabytes.
-- Parameters:
--      i_table      table
--      i_row        row of it
--      i_pinned     whether the text is not to depend on the writer's settings
-- Returns:  as pgq._row_values
-- Reads:    the definition of the table, through the caches of the server
-- Used by:  pgq._capture
declare
    v_query     pg_catalog.text;
    v_values    pg_catalog.text[];
begin
    select pg_catalog.concat('select array[', pg_catalog.string_agg(pg_catalog.format(
               'case when pg_catalog.num_nulls(($1).%1$I) operator(pg_catalog.=) 0 then %2$s(($1).%1$I) end',
               c.name, case when i_pinned then 'pgq_gen.pinned_text' else 'pg_catalog.concat' end), ', ' order by c.number),
               ']::pg_catalog.text[]')
      into v_query
      from (select n.number, pgq._column_name(i_table, n.number) as name
              from pg_catalog.generate_series(1, 1600) n (number)) c
     where c.name is not null;
    execute v_query into v_values using i_row;
    return v_values;
end;
-- No pinned search_path: the text is the writer's.
$$ language plpgsql stable;
