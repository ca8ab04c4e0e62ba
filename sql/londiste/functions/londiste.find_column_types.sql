create or replace function londiste.find_column_types(tbl text)
returns text as $$
-- londiste.find_column_types(1): the roles of a table's columns, as pgq.logtriga takes them.
-- Parameters:
--      tbl         an existing table
-- Returns:  one letter per live column in attribute order: k primary key, i generated, v other
-- Raises:   undefined_table "table not found"
-- Used by:  provider_add_table, provider_refresh_trigger
select londiste.column_letters(t.oid, (select i.indexrelid from pg_catalog.pg_index i
                                        where i.indrelid = t.oid and i.indisprimary))
  from (select londiste.find_table_oid(tbl) as oid) t;
$$ language sql strict stable set search_path = pg_catalog, pg_temp;

create or replace function londiste.find_column_types(tbl text, i_key_index text)
returns text as $$
-- londiste.find_column_types(2): the roles of a table's columns, with the key of an index.
-- Parameters:
--      tbl             an existing table
--      i_key_index     an index of it that can stand for a primary key
-- Returns:  as the short form
-- Raises:   undefined_table "table not found"; undefined_object "no such index"; wrong_object_type if two
--           rows could have the same key
-- Used by:  provider_column_types
declare
    v_index     record;
    v_reason    text;
begin
    select i.*, c.relname
      into v_index
      from pg_index i
      join pg_class c on c.oid = i.indexrelid
     where i.indrelid = londiste.find_table_oid(tbl)
       and c.relname = i_key_index;
    if not found then
        raise exception 'no such index: % has no index %', tbl, i_key_index
            using errcode = 'undefined_object';
    end if;
    v_reason := case
        when not v_index.indisunique then 'it is not unique'
        when not v_index.indisvalid then 'it is not valid'
        when not v_index.indimmediate then 'it is deferrable'
        when v_index.indpred is not null then 'it is partial'
        when v_index.indexprs is not null then 'it has expressions'
        when exists (select from pg_attribute a
                      where a.attrelid = v_index.indrelid and not a.attnotnull
                        and a.attnum = any ((v_index.indkey::int2[])[0:v_index.indnkeyatts - 1]))
            then 'its columns may be null'
    end;
    if v_reason is not null then
        raise exception 'index % cannot be the key of %: %', i_key_index, tbl, v_reason
            using errcode = 'wrong_object_type';
    end if;
    return londiste.column_letters(v_index.indrelid, v_index.indexrelid);
end;
$$ language plpgsql strict stable set search_path = pg_catalog, pg_temp;
