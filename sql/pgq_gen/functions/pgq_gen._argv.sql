create or replace function pgq_gen._argv(i_args text[])
returns text[] as $$
-- pgq_gen._argv(1): arguments of a trigger as its function sees them in TG_ARGV.
-- Parameters:
--      i_args      arguments, from 1
-- Returns:  the same, from 0
-- Used by:  pgq_gen._function
declare
    v_argv  text[];
begin
    for i in 1 .. coalesce(cardinality(i_args), 0) loop
        v_argv[i - 1] := i_args[i];
    end loop;
    return v_argv;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
