create or replace function pgq_gen._pairs_code(
    i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_minimal boolean)
returns text as $$
-- pgq_gen._pairs_code(5): writes the statements for one whole row as key=value pairs. Values are encoded together, after
-- one look at all of them; one by one only if they hold what has a meaning between pairs, or other than ASCII.
-- Parameters:
--      as for pgq_gen._row_data
-- Returns:  PL/pgSQL that sets v_data to what the expression of pgq_gen._row_data gives, and may use v_value; null if
--           there is no column, or the name of one has to be encoded
-- Used by:  pgq_gen._row_data_code
declare
    -- Types whose text is encoded already.
    c_plain     constant oid[] := '{int2,int4,int8,oid,numeric,uuid,boolean}'::regtype[]::oid[];
    -- Types whose text holds no other signs than "+"; and in every DateStyle no others than "+", ":", "/" and blanks.
    c_floats    constant oid[] := '{float4,float8}'::regtype[]::oid[];
    c_times     constant oid[] := '{date,timestamp,timestamptz}'::regtype[]::oid[];
    -- What a text must not hold to be taken as it is with the minimal encoding, and what tells of an empty one, for LIKE.
    c_signs     constant text[] := array[E'%\\%%', '%+%', '%&%', '%=%'];
    c_empty     constant text := E'%.\\_.\\_%';
    v_pairs     record;
    v_filled    record;
    v_whole     text;
    v_partial   text;
    v_each      constant text := pgq_gen._row_data('urlenc', i_row, i_names, i_types, i_is_hidden, i_minimal, false);
    v_value     text;
    v_encoded   text := 'v_data';
begin
    select array_agg(c.value order by c.place) as columns, array_agg(c.type order by c.place) as types,
           array_agg(c.head || case when c.is_last then '' else '=' end order by c.place) as heads,
           array_agg(case when c.is_last then format('''='' operator(pg_catalog.||) %s', pgq_gen._text(c.value, c.type, false))
                          else c.value end order by c.place) as arguments,
           array_agg(c.head order by c.place) as nulls,
           array_agg(c.value order by c.place) filter (where c.type <> all (c_plain || c_floats || c_times)) as texts,
           bool_or(c.type = any (c_floats || c_times)) as has_plus,
           bool_or(c.type = any (c_times)) as has_times,
           bool_and(c.name = pgq._urlencode(c.name)) as is_plain
      into v_pairs
      from (select c.place, c.name, c.type, pgq_gen._column(i_row, c.name) as value,
                   concat(case when row_number() over (order by c.place) > 1 then '&' end, c.name) as head,
                   row_number() over (order by c.place desc) = 1 as is_last
              from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
             where not c.is_hidden) c;
    if v_pairs.is_plain is not true then
        return null;
    end if;
    v_filled := pgq_gen._filling(
        v_pairs.columns, v_pairs.types, v_pairs.heads, array_fill('s'::text, array[cardinality(v_pairs.columns)]),
        v_pairs.arguments, v_pairs.nulls, '');
    -- Columns may have collations in which nothing can be replaced.
    v_whole := format('(%s) collate pg_catalog."C"', v_filled.whole);
    v_partial := format('(%s) collate pg_catalog."C"', v_filled.partial);
    if cardinality(v_pairs.columns) > 1 then
        -- Where no value is empty, = before & is a null.
        v_whole := format('pg_catalog.replace(%s, ''=&'', ''&'')', v_whole);
    end if;

    if v_pairs.has_plus then
        v_encoded := format('pg_catalog.replace(%s, ''+'', ''%%2b'')', v_encoded);
    end if;
    if not i_minimal and (v_pairs.has_times or v_pairs.texts is not null) then
        v_encoded := format('pg_catalog.replace(%s, '' '', ''+'')', v_encoded);
    end if;
    if not i_minimal and v_pairs.has_times then
        v_encoded := format('pg_catalog.replace(pg_catalog.replace(%s, '':'', ''%%3a''), ''/'', ''%%2f'')', v_encoded);
    end if;
    if v_pairs.texts is null then
        return format(E'        v_data := %s;\n', replace(v_encoded, 'v_data', v_whole));
    end if;
    -- An empty value leaves two separators side by side. A value may hold them, too, and costs more then.
    v_value := pgq_gen._joined('._', quote_literal('.') || v_pairs.texts || quote_literal('.'));
    if i_minimal then
        return format(
            E'        if not %1$s operator(pg_catalog.~~) any (%5$L) then\n'
            '            v_data := %2$s;\n'
            '        elsif not %1$s operator(pg_catalog.~~) any (%6$L) then\n'
            '            v_data := %3$s;\n'
            '        else\n'
            '            v_data := %4$s;\n'
            '        end if;\n',
            v_value, replace(v_encoded, 'v_data', v_whole), replace(v_encoded, 'v_data', v_partial), v_each,
            c_signs || c_empty, c_signs);
    end if;
    -- Regular expressions take four bytes a character: the server has no room for that with large values.
    return format(
        E'        v_value := %1$s;\n'
        '        if pg_catalog.octet_length(v_value) operator(pg_catalog.<) 50000000\n'
        '            and v_value operator(pg_catalog.!~) ''[^ -%%''''-<>-~]|[.]_[.]_'' then\n'
        '            v_data := %2$s;\n'
        '            if v_value operator(pg_catalog.!~) ''[^A-Za-z0-9_. -]'' then\n'
        '                v_data := %3$s;\n'
        '            else\n'
        '                v_data := pgq_gen.encode_row(v_data, v_value);\n'
        '            end if;\n'
        '        elsif pg_catalog.octet_length(v_value) operator(pg_catalog.<) 50000000\n'
        '            and v_value operator(pg_catalog.!~) ''[^ -%%''''-<>-~]'' then\n'
        '            v_data := pgq_gen.encode_row(%4$s, v_value);\n'
        '        else\n'
        '            v_data := %5$s;\n'
        '        end if;\n',
        v_value, v_whole, v_encoded, v_partial, v_each);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
