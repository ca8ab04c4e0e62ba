create or replace function pgq_gen._fill_code(
    i_columns text[], i_types oid[], i_heads text[], i_kinds text[], i_arguments text[], i_tails text[], i_nulls text[],
    i_end text)
returns text as $$
-- pgq_gen._fill_code(8): writes the statements that fill the columns of one row into a text. They take less to
-- prepare than an expression with a call for each column, and least if no column is null; in a transaction of one
-- row that is most of their cost.
-- Parameters:
--      i_columns, i_types      the columns: NEW."a"; at least one
--      i_heads, i_tails        what comes before and after the value of a column, as pg_catalog.format reads it
--      i_kinds                 how pg_catalog.format writes the value: s or L
--      i_arguments             expressions of the values
--      i_nulls                 what stands for a column that is null, with what comes before and after it
--      i_end                   end of the text
-- Returns:  PL/pgSQL that sets v_data
-- Used by:  pgq_gen._values_code, pgq_gen._row_data_code
declare
    -- A call takes 100 arguments at most.
    c_most      constant integer := 90;
    v_count     constant integer := cardinality(i_columns);
    v_last      integer;
    v_call      record;
    v_counts    text[] := '{}';
    v_whole     text[] := '{}';
    v_partial   text[] := '{}';
begin
    for v_first in 1 .. v_count by c_most loop
        v_last := least(v_first + c_most - 1, v_count);
        select string_agg(concat(i_heads[n.n], '%', i_kinds[n.n], i_tails[n.n]), '' order by n.n) as all_shown,
               array_agg(format('case when %s then %L else %L end',
                                pgq_gen._is_null(array[i_columns[n.n]], i_types[n.n]), i_nulls[n.n],
                                concat(i_heads[n.n], '%', n.n - v_first + 1, '$', i_kinds[n.n], i_tails[n.n]))
                         order by n.n) as some_shown
          into v_call
          from generate_series(v_first, v_last) n (n);
        v_counts := v_counts || format('pg_catalog.num_nulls(%s)', array_to_string(i_columns[v_first:v_last], ', '));
        v_whole := v_whole || format('pg_catalog.format(%L, %s)',
                                     v_call.all_shown || case when v_last = v_count then i_end else '' end,
                                     array_to_string(i_arguments[v_first:v_last], ', '));
        v_partial := v_partial || format('pg_catalog.format(%s, %s)',
                                         pgq_gen._concat('', v_call.some_shown
                                             || case when v_last = v_count and i_end <> '' then quote_literal(i_end) end),
                                         array_to_string(i_arguments[v_first:v_last], ', '));
    end loop;
    return format(
        E'        if %s operator(pg_catalog.=) 0 then\n'
        '            v_data := %s;\n'
        '        else\n'
        '            v_data := %s;\n'
        '        end if;\n',
        array_to_string(v_counts, ' operator(pg_catalog.+) '),
        array_to_string(v_whole, ' operator(pg_catalog.||) '),
        array_to_string(v_partial, ' operator(pg_catalog.||) '));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
