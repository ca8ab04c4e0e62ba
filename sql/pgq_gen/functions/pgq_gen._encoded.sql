create or replace function pgq_gen._encoded(i_value text, i_type oid, i_minimal boolean, i_pinned boolean)
returns text as $$
-- pgq_gen._encoded(4): writes the expression for a column as the value of a key=value pair.
-- Parameters:
--      i_value, i_type, i_pinned      as for pgq_gen._text
--      i_minimal       encode only what a reader needs: % + & =
-- Returns:  SQL of type text, null for a null
-- Used by:  pgq_gen._row_data, pgq_gen._row_data_code
declare
    v_text  text := pgq_gen._text(i_value, i_type, i_pinned);
begin
    return case
        when i_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
                        'numeric'::regtype, 'uuid'::regtype, 'boolean'::regtype) then
            v_text
        when i_type in ('float4'::regtype, 'float8'::regtype)
             or i_minimal and i_type in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
            format('pg_catalog.replace(%s, ''+'', ''%%2b'')', v_text)
        when i_minimal then
            format('pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(%s, ''%%'', ''%%25''),'
                   ' ''+'', ''%%2b''), ''&'', ''%%26''), ''='', ''%%3d'')',
                   format('(%s) collate pg_catalog."C"', v_text))
        when i_type in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
            -- In every DateStyle.
            format('pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(%s, ''+'', ''%%2b''),'
                   ' '' '', ''+''), '':'', ''%%3a''), ''/'', ''%%2f'')', v_text)
        else
            format('pgq_gen.encode((%s) collate pg_catalog."C")', v_text)
    end;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
