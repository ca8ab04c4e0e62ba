create or replace function pgq_gen._row_data_code(
    i_function text, i_format text, i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_minimal boolean)
returns text as $$
-- pgq_gen._row_data_code(7): writes the statements for one whole row.
-- Parameters:
--      i_function      function of the capture
--      others          as for pgq_gen._row_data
-- Returns:  PL/pgSQL that sets v_data to what the expression of pgq_gen._row_data gives, and may use v_value
-- Used by:  pgq_gen._row_code
declare
    v_code      text;
    v_row       text;
begin
    if i_format = 'json' then
        v_row := pgq_gen._json_row(i_function, i_row, i_names, i_types, i_is_hidden);
        v_code := format(E'        v_data := pg_catalog.row_to_json(%s)::pg_catalog.text;\n', v_row);
    elsif i_format = 'urlenc' then
        v_code := pgq_gen._pairs_code(i_row, i_names, i_types, i_is_hidden, i_minimal);
    end if;
    if v_row is null and i_format = 'json' or v_code is null then
        v_code := format(E'        v_data := %s;\n',
                         pgq_gen._row_data(i_format, i_row, i_names, i_types, i_is_hidden, i_minimal, false));
    end if;
    return v_code;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
