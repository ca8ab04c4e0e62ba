create or replace function pgq._capture_columns(
    i_columns record, i_ignored text, i_keys text, i_kinds text,
    out names text[], out types oid[], out collations oid[],
    out is_key boolean[], out is_hidden boolean[], out fields integer[], out key_names text[])
as $$
-- pgq._capture_columns(4): what a capture trigger has to know of its table.
-- Parameters:
--      i_columns     of pgq._table_columns or pgq._row_columns, and known, of pgq._known_names
--      i_ignored     list of columns to leave out, or null
--      i_keys        list of key columns; null: the primary key
--      i_kinds       instead of both lists a letter per live column: k key, i ignored, other data; a
--                    column without a letter is ignored
-- Returns:  arrays over the live columns in table order: names, types, collations; is_key; is_hidden, not
--           part of the data; fields, null unless a column is to replace an event field, then the number
--           of the field for each such column. key_names in the order of the list or of the index. The
--           primary key is the key where the list names a column that was there and is not any more
-- Raises:   "key column does not exist"; "Unknown magic column: ..."; a key that is no plain column
-- Used by:  pgq._capture, pgq._capture_truncate, pgq_gen._function
declare
    c_magic     constant text := '_pgq_ev_';
    c_fields    constant text[] := '{type,data,extra1,extra2,extra3,extra4}';
    v_name      text;
    v_names     text[];
    v_known     text[] := coalesce(i_columns.known, i_columns.names);
    v_gone      boolean := false;
begin
    names := i_columns.names;
    types := i_columns.types;
    collations := i_columns.collations;
    key_names := '{}';

    if i_kinds is not null then
        if length(i_kinds) - strpos(reverse(i_kinds), 'k') >= cardinality(names) then
            raise exception 'key column does not exist';
        end if;
    elsif i_keys is not null then
        -- Blanks may stand between names like commas, and in a name.
        foreach v_name in array regexp_split_to_array(i_keys, '[[:space:]]*,[[:space:],]*') loop
            v_name := btrim(v_name, E' \t\n\r\f\x0b');
            v_names := case when v_name = any (v_known) then array[v_name]
                            else regexp_split_to_array(v_name, '[[:space:]]+') end;
            continue when v_name = '';
            if v_names <@ v_known then
                key_names := key_names || array(select names[array_position(v_known, n.name)]
                                                  from unnest(v_names) with ordinality n (name, place)
                                                 order by n.place);
            elsif i_columns.known is not null then
                v_gone := true;
            else
                raise exception 'pkey= names "%", which is no column of the table', v_name;
            end if;
        end loop;
    end if;
    if i_keys is null and i_kinds is null or v_gone then
        key_names := i_columns.key_names;
    end if;

    for i in 1 .. cardinality(names) loop
        v_name := names[i];
        if i_kinds is not null then
            is_key[i] := substr(i_kinds, i, 1) = 'k';
            is_hidden[i] := substr(i_kinds, i, 1) in ('', 'i');
        else
            is_key[i] := case when i_keys is null or v_gone then v_name = any (key_names)
                              else v_known[i] <> '' and pgq._in_column_list(v_known[i], i_keys) end;
            is_hidden[i] := i_ignored is not null and v_known[i] <> '' and pgq._in_column_list(v_known[i], i_ignored);
        end if;
        if starts_with(v_name, c_magic) then
            is_hidden[i] := true;
            fields := coalesce(fields, array_fill(null::integer, array[cardinality(names)]));
            fields[i] := array_position(c_fields, substr(v_name, length(c_magic) + 1));
            if fields[i] is null then
                raise exception 'Unknown magic column: %', v_name;
            elsif is_key[i] then
                raise exception 'magic column "%" cannot be a key column', v_name;
            end if;
        end if;
    end loop;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
