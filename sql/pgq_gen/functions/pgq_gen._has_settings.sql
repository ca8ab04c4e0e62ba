create or replace function pgq_gen._has_settings(i_type oid)
returns boolean as $$
-- pgq_gen._has_settings(1): whether the text of a type's values depends on the settings of a session.
-- Parameters:
--      i_type      type of a column
-- Returns:  true for dates and times, floats, bytea, money, types of extensions, and whatever holds one
-- Reads:    pg_type, pg_attribute, pg_range
-- Used by:  pgq_gen._text, pgq_gen._literal, pgq_gen._quoted
declare
    v_type  record;
begin
    select t.typtype, t.typbasetype, t.typrelid, t.typelem, r.rngsubtype,
           t.typsubscript = 'array_subscript_handler'::regproc as is_array
      into v_type
      from pg_type t
      left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
     where t.oid = i_type;
    case
        when v_type.is_array then
            return pgq_gen._has_settings(v_type.typelem);
        when v_type.typtype = 'd' then
            return pgq_gen._has_settings(v_type.typbasetype);
        when v_type.typtype in ('r', 'm') then
            return pgq_gen._has_settings(v_type.rngsubtype);
        when v_type.typtype = 'e' then
            return false;
        when v_type.typtype = 'c' then
            return exists (select
                             from pg_attribute a
                            where a.attrelid = v_type.typrelid
                              and a.attnum > 0
                              and not a.attisdropped
                              and pgq_gen._has_settings(a.atttypid));
        else
            -- Oids below 10000 are those of the server itself.
            return i_type >= 10000
                or i_type in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype,
                              'interval'::regtype, 'float4'::regtype, 'float8'::regtype,
                              'bytea'::regtype, 'money'::regtype);
    end case;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
