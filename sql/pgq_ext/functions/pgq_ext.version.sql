create or replace function pgq_ext.version()
returns text as $$
-- pgq_ext.version(0): version of the schema.
-- Returns:  digits and dots
-- Used by:  installers
begin
    -- The only line of this form in the schema: installers scan for it.
    return '3.3';
end;
$$ language plpgsql;
