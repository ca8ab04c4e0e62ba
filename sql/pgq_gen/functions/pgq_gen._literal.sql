create or replace function pgq_gen._literal(i_value text, i_type oid, i_pinned boolean)
returns text as $$
-- pgq_gen._literal(3): writes the expression for a column as a quoted literal.
-- Parameters:
--      i_value, i_type, i_pinned      as for pgq_gen._text
-- Returns:  SQL of type text, null for a null
-- Used by:  pgq_gen._quoted, pgq_gen._values, pgq_gen._assignments, pgq_gen._where
begin
    return case
        when i_type = 'boolean'::regtype then
            format('case when %1$s then ''''''t'''''' when not %1$s then ''''''f'''''' end', i_value)
        -- Their text holds neither quotes nor backslashes.
        when i_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
                        'numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'uuid'::regtype,
                        'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
            format('('''''''' operator(pg_catalog.||) %s operator(pg_catalog.||) '''''''')',
                   case when i_pinned and pgq_gen._has_settings(i_type)
                        then '(' || pgq_gen._text(i_value, i_type, i_pinned) || ')' else i_value end)
        when i_type = 'bytea'::regtype and i_pinned then
            -- E, for sessions in which plain strings have backslashes too.
            format(E'(E''E''''\\\\\\\\x'' operator(pg_catalog.||) pg_catalog.encode(%s, ''hex'') operator(pg_catalog.||) '''''''')',
                   i_value)
        else
            format('pg_catalog.quote_literal(%s)', pgq_gen._text(i_value, i_type, i_pinned))
    end;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
