create or replace function pgq_gen.pinned_text(i_value anyelement)
returns text as $$
-- pgq_gen.pinned_text(1): text of a value that does not depend on the writer's settings.
-- Parameters:
--      i_value      any value, not null
-- Returns:  what its output function writes under settings=pinned
-- Used by:  generated captures, pgq._row_text
begin
    return pg_catalog.concat(i_value);
end;
$$ language plpgsql stable
   set datestyle = 'ISO, MDY'
   set intervalstyle = 'postgres'
   set timezone = 'UTC'
   set extra_float_digits = 1
   set bytea_output = 'hex'
   set lc_monetary = 'C'
   set xmlbinary = 'base64';
