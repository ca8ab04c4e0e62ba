create or replace function pgq._capture_columns(
    i_format text, i_op text, i_table oid, i_ignored text, i_keys text, i_kinds text,
    out names text[], out is_key boolean[], out is_hidden boolean[], out fields integer[],
    out key_names text[], out query text)
as $$
-- pgq._capture_columns(6): what a capture trigger has to know of its table.
-- Parameters:
--      i_format      sql, urlenc or json
--      i_op          INSERT, UPDATE, DELETE or TRUNCATE
--      i_table       table
--      i_ignored     list of columns to leave out, or null
--      i_keys        list of key columns; null: the primary key
--      i_kinds       instead of both lists a letter per live column: k key, i ignored, other data; a
--                    column without a letter is ignored
-- Returns:  arrays over the live columns in table order: names; is_key; is_hidden, not part of the data;
--           fields, 1 to 6 if the column replaces an event field. key_names in the order of the list
--           or of the index. query: text of a SELECT of three arrays: the text of the columns of row $1,
--           and for an UPDATE that of row $2 and which columns are equal, null for a type that is
--           compared by its text
-- Raises:   "key column does not exist"; "Unknown magic column: ..."; a key list that names something
--           else than plain columns
-- Reads:    pg_attribute, pg_index
-- Used by:  pgq._capture, pgq._capture_truncate
declare
    v_new       text;
    v_old       text;
    v_equal     text;
    v_unknown   text;
begin
    select array_agg(c.name order by c.n),
           array_agg(c.is_key order by c.n),
           array_agg(c.is_ignored or c.is_magic order by c.n),
           array_agg(c.field order by c.n),
           coalesce(array_agg(c.name order by c.key_place) filter (where c.key_place is not null), '{}'),
           string_agg(pgq._capture_value(c.format, '$1', c.name, c.type), ', ' order by c.n),
           string_agg(pgq._capture_value(c.format, '$2', c.name, c.type), ', ' order by c.n)
               filter (where i_op = 'UPDATE'),
           string_agg(case when i_op <> 'UPDATE' then null
                           when pgq._has_equality(c.type)
                           -- by the default equality of the type, and nulls are equal
                           then format('pg_catalog.record_eq(row(($1).%1$I), row(($2).%1$I))', c.name)
                           else 'null' end, ', ' order by c.n),
           min(c.name) filter (where c.is_magic and c.field is null)
      into names, is_key, is_hidden, fields, key_names, v_new, v_old, v_equal, v_unknown
      from (select l.*,
                   array_position('{type,data,extra1,extra2,extra3,extra4}',
                                  case when l.is_magic then substr(l.name, 9) end) as field,
                   case
                       when i_kinds is not null then substr(i_kinds, l.n::integer, 1) = 'k'
                       when i_keys is not null then pgq._in_column_list(l.name, i_keys)
                       else l.key_place is not null
                   end as is_key,
                   case
                       when i_kinds is not null then substr(i_kinds, l.n::integer, 1) in ('', 'i')
                       else pgq._in_column_list(l.name, i_ignored)
                   end as is_ignored,
                   case when l.is_magic then 'text' else i_format end as format
              from (select row_number() over (order by a.attnum) as n,
                           a.attname::text as name,
                           a.atttypid as type,
                           starts_with(a.attname::text, '_pgq_ev_') as is_magic,
                           k.key_place
                      from pg_attribute a
                      -- By number: the index keeps the old name of a renamed column. Columns that the
                      -- index merely includes stand behind the key.
                      left join (pg_index i
                                 cross join lateral unnest(i.indkey::smallint[])
                                      with ordinality k (attnum, key_place))
                             on i.indrelid = a.attrelid
                            and i.indisprimary
                            and k.attnum = a.attnum
                            and k.key_place <= i.indnkeyatts
                     where a.attrelid = i_table
                       and a.attnum > 0
                       and not a.attisdropped) l) c;

    if v_unknown is not null then
        raise exception 'Unknown magic column: %', v_unknown;
    end if;
    if i_keys is not null then
        select coalesce(array_agg(btrim(n) order by place), '{}'),
               min(btrim(n)) filter (where not exists (
                   select from unnest(names, fields) c (name, field) where c.name = btrim(n) and c.field is null))
          into key_names, v_unknown
          from unnest(string_to_array(i_keys, ',')) with ordinality k (n, place);
        if v_unknown is not null then
            raise exception 'pkey= names "%", which is no column for a key', v_unknown;
        end if;
    elsif exists (select from unnest(is_key, fields) c (is_key, field) where c.is_key and c.field is not null) then
        raise exception 'a magic column cannot be a key column';
    end if;
    if length(i_kinds) - strpos(reverse(i_kinds), 'k') >= coalesce(cardinality(names), 0) then
        raise exception 'key column does not exist';
    end if;

    query := format('select array[%s]::pg_catalog.text[], array[%s]::pg_catalog.text[], array[%s]::pg_catalog.bool[]',
                    v_new, v_old, v_equal);
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
