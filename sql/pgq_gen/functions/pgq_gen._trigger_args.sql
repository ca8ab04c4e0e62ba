create or replace function pgq_gen._trigger_args(i_args bytea, i_count integer)
returns text[] as $$
-- pgq_gen._trigger_args(2): arguments of a trigger.
-- Parameters:
--      i_args, i_count      tgargs and tgnargs of pg_trigger: each argument with a zero byte behind it
-- Returns:  the arguments
-- Used by:  pgq.refresh_captures
    -- Backslashes are written double, so a single one begins a byte.
    select coalesce(array_agg(convert_from(decode(replace(a.arg, e'\x01', E'\\\\'), 'escape'), getdatabaseencoding())
                              order by a.place), '{}')
      from unnest(string_to_array(replace(encode(i_args, 'escape'), E'\\\\', e'\x01'), E'\\000'))
           with ordinality a (arg, place)
     where a.place <= i_count;
$$ language sql stable set search_path = pg_catalog, pg_temp;
