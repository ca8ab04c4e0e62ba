create or replace function londiste.split_fqname(i_name text, out o_schema text, out o_name text)
as $$
-- londiste.split_fqname(1): takes the raw name of a relation apart.
-- Parameters:
--      i_name      schema.relation; without a dot the schema is public; the relation may hold more
--                  dots; a schema that holds a dot or a quote is written as an SQL identifier:
--                  "my.schema".relation
-- Returns:  both parts, unquoted
declare
    v_quoted    text[];
begin
    v_quoted := regexp_match(i_name, E'^"((?:[^"]|"")+)"\\.(.+)$');
    if v_quoted is not null then
        o_schema := replace(v_quoted[1], '""', '"');
        o_name := v_quoted[2];
    elsif position('.' in i_name) > 0 then
        o_schema := substr(i_name, 1, position('.' in i_name) - 1);
        o_name := substr(i_name, position('.' in i_name) + 1);
    else
        o_schema := 'public';
        o_name := i_name;
    end if;
end;
$$ language plpgsql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
