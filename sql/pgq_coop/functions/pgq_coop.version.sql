create or replace function pgq_coop.version()
returns text as $$
-- pgq_coop.version(0): version of the schema.
-- Returns:  digits and dots
-- Used by:  installers
begin
    -- The only line of this form in the schema: installers scan for it.
    return '3.1.1';
end;
$$ language plpgsql;
