create or replace function pgq._row_columns(
    i_table oid, i_row anyelement, i_count integer,
    out names text[], out types oid[], out collations oid[], out key_names text[])
as $$
-- pgq._row_columns(3): columns of a table, as a row of it has them. A transaction whose snapshot is older
-- than a change of the table sees the old definition in the catalogue, and rows of the new one.
-- Parameters:
--      i_table      table
--      i_row        row of it
--      i_count      number of its columns
-- Returns:  as pgq._table_columns
-- Reads:    names and the primary key through the caches of the server, types from the row. Where the table
--           has another replica identity, the key in the catalogue. No value is looked at: a type may bring
--           code of its owner along, a cast for example
-- Used by:  pgq._capture
declare
    c_self      constant text := 'pg_catalog.pg_typeof(($1).%I)::pg_catalog.oid';
    v_table     record := pgq._table_columns(i_table);
    v_identity  oid := pg_catalog.pg_get_replica_identity_index(i_table::pg_catalog.regclass);
    v_name      pg_catalog.text;
    v_query     pg_catalog.text;
begin
    names := '{}';
    for v_number in 1 .. 1600 loop
        exit when pg_catalog.cardinality(names) operator(pg_catalog.=) i_count;
        v_name := pgq._column_name(i_table, v_number);
        if v_name is not null then
            names := names operator(pg_catalog.||) v_name;
        end if;
    end loop;
    select pg_catalog.concat(
               'select array[',
               pg_catalog.string_agg(pg_catalog.format(c_self, n.name), ', ' order by n.place),
               ']::pg_catalog.oid[]')
      into v_query
      from pg_catalog.unnest(names) with ordinality n (name, place);
    execute v_query into types using i_row;
    collations := array(
        select coalesce(v_table.collations[pg_catalog.array_position(v_table.names, names[i])], t.typcollation)
          from pg_catalog.generate_subscripts(names, 1) i
          join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) types[i]
         order by i);
    key_names := v_table.key_names;
    if v_identity is not null then
        key_names := array(
            select (pg_catalog.parse_ident(pg_catalog.pg_get_indexdef(v_identity, k, false)))[1]
              from pg_catalog.generate_series(1, 32) k
             where pg_catalog.pg_index_column_has_property(v_identity, k, 'orderable')
             order by k);
    end if;
end;
-- No pinned search_path: the values are the writer's. What is called here takes names and numbers.
$$ language plpgsql stable;
