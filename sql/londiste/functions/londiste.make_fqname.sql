create or replace function londiste.make_fqname(i_schema text, i_name text)
returns text as $$
-- londiste.make_fqname(2): the raw name of a relation, as it stands in registration tables and events.
-- Parameters:
--      i_schema    schema, unquoted
--      i_name      relation, unquoted
-- Returns:  schema.relation; londiste.split_fqname undoes it
select case when i_schema ~ '[."]'
            then '"' || replace(i_schema, '"', '""') || '"'
            else i_schema
       end || '.' || i_name;
$$ language sql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
