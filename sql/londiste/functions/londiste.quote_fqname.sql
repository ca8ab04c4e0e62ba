create or replace function londiste.quote_fqname(i_name text)
returns text as $$
-- londiste.quote_fqname(1): the name of a relation as SQL.
-- Parameters:
--      i_name      as londiste.split_fqname takes it
-- Returns:  schema.relation, each part quoted where needed
select pg_catalog.quote_ident(o_schema) || '.' || pg_catalog.quote_ident(o_name)
  from londiste.split_fqname(i_name);
$$ language sql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
