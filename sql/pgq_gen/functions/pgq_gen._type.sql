create or replace function pgq_gen._type(
    i_op text, i_options record, i_columns record, i_schema text, i_name text)
returns text as $$
-- pgq_gen._type(5): writes the expression for ev_type.
-- Parameters:
--      i_op      INSERT, UPDATE or DELETE
--      i_options, i_columns, i_schema, i_name      as for pgq_gen._row_code
-- Returns:  SQL of type text
-- Used by:  pgq_gen._row_code, pgq_gen._statement_code
begin
    if i_options.format <> 'json' or i_name is not null then
        return quote_literal(pgq._capture_type(i_options.format, i_op, i_schema, i_name,
                                               i_columns.key_names, i_options.keys));
    end if;
    return format('pg_catalog.concat(%L, pg_catalog.to_json(TG_TABLE_SCHEMA::pg_catalog.text), '','','
                  ' pg_catalog.to_json(TG_TABLE_NAME::pg_catalog.text), %L)',
                  '{"op":' || to_json(i_op)::text || ',"table":[',
                  '],"pkey":' || to_json(i_columns.key_names)::text || '}');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
