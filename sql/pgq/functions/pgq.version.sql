create or replace function pgq.version()
returns text as $$
-- pgq.version(0): version of the schema; daemons ignore a database where it is null or below 3.
-- Returns:  digits and dots
-- Used by:  daemons, installers
begin
    -- The only line of this form in the schema: installers scan for it.
    return '3.6.0';
end;
$$ language plpgsql;
