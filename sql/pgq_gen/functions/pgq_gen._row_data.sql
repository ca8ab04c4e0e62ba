create or replace function pgq_gen._row_data(
    i_format text, i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_minimal boolean,
    i_pinned boolean)
returns text as $$
-- pgq_gen._row_data(7): writes the expression for a whole row.
-- Parameters:
--      i_format        json for a JSON object, else key=value pairs in which a bare key is a null
--      i_row           the row: NEW or OLD
--      i_names, i_types, i_is_hidden      columns in table order
--      i_minimal       as for pgq_gen._encoded
--      i_pinned        as for pgq_gen._text; JSON is never pinned so
-- Returns:  SQL of type text
-- Used by:  pgq_gen._row_code, pgq_gen._row_data_code, pgq_gen._statement_code
declare
    v_parts     text[] := '{}';
    v_column    text;
    v_name      text;
begin
    for i in 1 .. cardinality(i_names) loop
        continue when i_is_hidden[i];
        v_column := pgq_gen._column(i_row, i_names[i]);
        if i_format = 'json' then
            v_name := case when v_parts = '{}' then '{' else ',' end || to_json(i_names[i])::text || ':';
            v_parts := v_parts || quote_literal(v_name)
                               || format('coalesce(%s, ''null'')', pgq_gen._json(v_column, i_types[i]));
        else
            v_name := pgq._urlencode(i_names[i]);
            v_parts := v_parts || format('coalesce(%L operator(pg_catalog.||) %s, %L)', v_name || '=',
                                         pgq_gen._encoded(v_column, i_types[i], i_minimal, i_pinned), v_name);
        end if;
    end loop;
    if i_format <> 'json' then
        return pgq_gen._concat('&', v_parts);
    elsif v_parts = '{}' then
        return '''{}''';
    end if;
    return pgq_gen._concat('', v_parts || quote_literal('}'));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
