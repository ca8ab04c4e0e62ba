create or replace function londiste.find_rel_oid(tbl text, kind text)
returns oid as $$
-- londiste.find_rel_oid(2): looks a relation up, without regard to search_path.
-- Parameters:
--      tbl         as londiste.split_fqname takes it
--      kind        r: table, partitioned ones too; S: sequence
-- Returns:  its oid
-- Raises:   "table not found" or "seq not found": undefined_table, or wrong_object_type if it is something
--           else; "weird relkind"
-- Used by:  find_table_oid, find_seq_oid
declare
    v_oid       oid;
    v_relkind   text;
begin
    if kind not in ('r', 'S') then
        raise exception 'weird relkind: %', kind
            using errcode = 'invalid_parameter_value';
    end if;

    select c.oid, c.relkind
      into v_oid, v_relkind
      from londiste.split_fqname(tbl) f
      join pg_catalog.pg_namespace n on n.nspname = f.o_schema
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = f.o_name;
    if v_relkind = kind or (v_relkind = 'p' and kind = 'r') then
        return v_oid;
    end if;

    if v_relkind is null then
        raise exception '% not found: %', case kind when 'S' then 'seq' else 'table' end, tbl
            using errcode = 'undefined_table';
    end if;
    raise exception '% not found: %', case kind when 'S' then 'seq' else 'table' end, tbl
        using errcode = 'wrong_object_type',
              detail = 'It is a ' || case v_relkind
                    when 'r' then 'table'
                    when 'p' then 'partitioned table'
                    when 'S' then 'sequence'
                    when 'v' then 'view'
                    when 'm' then 'materialized view'
                    when 'f' then 'foreign table'
                    when 'c' then 'composite type'
                    else 'relation of another kind'
                end || '.';
end;
$$ language plpgsql strict stable set search_path = pg_catalog, pg_temp;
