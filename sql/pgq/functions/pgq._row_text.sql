create or replace function pgq._row_text(i_row anyelement)
returns text as $$
-- pgq._row_text(1): a row as text that does not depend on the writer's settings.
-- Parameters:
--      i_row      row of a table
-- Returns:  what the output functions write, as of a composite value
-- Used by:  pgq._capture
begin
    return pg_catalog.format('%s', i_row);
end;
$$ language plpgsql stable
   set datestyle = 'ISO, MDY'
   set intervalstyle = 'postgres'
   set timezone = 'UTC'
   set extra_float_digits = 1
   set bytea_output = 'hex'
   set lc_monetary = 'C'
   set xmlbinary = 'base64';
