create or replace function londiste.version()
returns text as $$
-- londiste.version(0): version of the functions in this schema.
begin
    return '3.6.0';
end;
$$ language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp;
