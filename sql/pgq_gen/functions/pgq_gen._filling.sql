create or replace function pgq_gen._filling(
    i_columns text[], i_types oid[], i_heads text[], i_kinds text[], i_arguments text[], i_nulls text[], i_end text,
    out whole text, out partial text)
as $$
-- pgq_gen._filling(7): writes expressions that fill the columns of one row into a text. They take less to prepare than
-- one with a call for each column; in a transaction of one row that is most of their cost.
-- Parameters:
--      i_columns, i_types      the columns: NEW."a"; at least one
--      i_heads                 what comes before the value of a column, as pg_catalog.format reads it
--      i_kinds                 how pg_catalog.format writes the value: s or L
--      i_arguments             expressions of the values
--      i_nulls                 what stands for a column that is null, with what comes before it
--      i_end                   end of the text
-- Returns:  whole: the text as pg_catalog.format writes it, in which a column that is null is empty, or NULL;
--           partial: the text with i_nulls for these, which takes more
-- Used by:  pgq_gen._values_code, pgq_gen._pairs_code
declare
    -- A call takes 100 arguments at most.
    c_most      constant integer := 90;
    v_count     constant integer := cardinality(i_columns);
    v_last      integer;
    v_end       text;
    v_call      record;
    v_whole     text[] := '{}';
    v_partial   text[] := '{}';
begin
    for v_first in 1 .. v_count by c_most loop
        v_last := least(v_first + c_most - 1, v_count);
        v_end := case when v_last = v_count then nullif(i_end, '') end;
        select string_agg(concat(i_heads[n.n], '%', i_kinds[n.n]), '' order by n.n) as whole,
               array_agg(format('case when %s then %L else %L end',
                                pgq_gen._is_null(array[i_columns[n.n]], i_types[n.n]), i_nulls[n.n],
                                concat(i_heads[n.n], '%', n.n - v_first + 1, '$', i_kinds[n.n]))
                         order by n.n) as partial,
               string_agg(i_arguments[n.n], ', ' order by n.n) as arguments
          into v_call
          from generate_series(v_first, v_last) n (n);
        v_whole := v_whole || format('pg_catalog.format(%L, %s)', concat(v_call.whole, v_end), v_call.arguments);
        v_partial := v_partial || format('pg_catalog.format(%s, %s)',
                                         pgq_gen._concat('', v_call.partial || quote_literal(v_end)), v_call.arguments);
    end loop;
    whole := array_to_string(v_whole, ' operator(pg_catalog.||) ');
    partial := array_to_string(v_partial, ' operator(pg_catalog.||) ');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
