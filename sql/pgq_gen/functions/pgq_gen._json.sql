create or replace function pgq_gen._json(i_value text, i_type oid)
returns text as $$
-- pgq_gen._json(2): writes the expression for a column as a JSON value.
-- Parameters:
--      i_value, i_type      as for pgq_gen._text
-- Returns:  SQL of type text, null for a null. Integers are numbers, booleans themselves, dates and
--           times in ISO format; every other type, and a domain over any, is a string
-- Used by:  pgq_gen._row_data, pgq_gen._row_data_code
begin
    return case
        when i_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then
            i_value || '::pg_catalog.text'
        when i_type = 'boolean'::regtype then
            format('case when %1$s then ''true'' when not %1$s then ''false'' end', i_value)
        when i_type in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
            format('pg_catalog.to_json(%s)::pg_catalog.text', i_value)
        when i_type in ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'uuid'::regtype,
                        'oid'::regtype) then
            format('(''"'' operator(pg_catalog.||) %s operator(pg_catalog.||) ''"'')', i_value)
        else
            format('pg_catalog.to_json(%s)::pg_catalog.text', pgq_gen._text(i_value, i_type, false))
    end;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
