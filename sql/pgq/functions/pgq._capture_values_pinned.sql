create or replace function pgq._capture_values_pinned(
    i_query text, i_row anyelement, i_old anyelement,
    out new_values text[], out old_values text[], out equal boolean[])
as $$
-- pgq._capture_values_pinned(3): text of a row's columns that does not depend on the writer's settings.
-- Parameters:
--      i_query       query of pgq._capture_columns
--      i_row         the row, its $1
--      i_old         the old row, its $2
-- Returns:  its result
-- Used by:  pgq._capture
begin
    execute i_query into new_values, old_values, equal using i_row, i_old;
end;
$$ language plpgsql
   set datestyle = 'ISO, MDY'
   set intervalstyle = 'postgres'
   set timezone = 'UTC'
   set extra_float_digits = 1
   set bytea_output = 'hex'
   set lc_monetary = 'C'
   set xmlbinary = 'base64';
