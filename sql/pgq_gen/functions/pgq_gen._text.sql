create or replace function pgq_gen._text(i_value text, i_type oid, i_pinned boolean)
returns text as $$
-- pgq_gen._text(3): writes the expression for the text of a column.
-- Parameters:
--      i_value       the column, as NEW."a"
--      i_type        its type
--      i_pinned      whether the text must not depend on the session; the code around then declares
--                    v_plain, true while DateStyle is ISO and floats keep all digits
-- Returns:  SQL of type text: what the output function of the type writes, null for a null
-- Used by:  pgq_gen._literal, pgq_gen._encoded, pgq_gen._json, pgq_gen._override_code
declare
    v_text  text;
begin
    v_text := case
        when i_type = 'boolean'::regtype then
            format('case when %1$s then ''t'' when not %1$s then ''f'' end', i_value)
        -- Types whose cast to text is their output function.
        when i_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
                        'numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'uuid'::regtype,
                        'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype,
                        'text'::regtype, 'varchar'::regtype) then
            i_value || '::pg_catalog.text'
        else
            format('case when pg_catalog.num_nulls(%1$s) operator(pg_catalog.=) 0'
                   ' then pg_catalog.concat(%1$s) end', i_value)
    end;
    if not i_pinned or not pgq_gen._has_settings(i_type) then
        return v_text;
    end if;
    return case
        when i_type = 'bytea'::regtype then
            format(E'E''\\\\x'' operator(pg_catalog.||) pg_catalog.encode(%s, ''hex'')', i_value)
        when i_type in ('date'::regtype, 'timestamp'::regtype, 'float4'::regtype, 'float8'::regtype) then
            format('case when v_plain then %s when %s is not null then pgq_gen.pinned_text(%2$s) end',
                   v_text, i_value)
        when i_type = 'timestamptz'::regtype then
            -- Years before Christ and infinity are written differently.
            format('case when v_plain and %1$s operator(pg_catalog.>=) ''0001-01-01 00:00:00+00''::pg_catalog.timestamptz'
                   ' and %1$s operator(pg_catalog.<) ''infinity''::pg_catalog.timestamptz'
                   ' then pg_catalog.timezone(''0''::pg_catalog.interval, %1$s)::pg_catalog.text'
                   ' operator(pg_catalog.||) ''+00'''
                   ' when %1$s is not null then pgq_gen.pinned_text(%1$s) end', i_value)
        else
            format('case when pg_catalog.num_nulls(%1$s) operator(pg_catalog.=) 0'
                   ' then pgq_gen.pinned_text(%1$s) end', i_value)
    end;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
