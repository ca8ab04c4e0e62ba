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
    v_pairs     record;
    v_filled    record;
    v_code      text;
    v_encoded   text := 'v_data';
begin
    select array_agg(c.value order by c.place) as columns, array_agg(c.type order by c.place) as types,
           array_agg(c.head || '=' order by c.place) as heads, array_agg(c.head order by c.place) as nulls,
           array_agg(c.value order by c.place) filter (where c.type <> all (c_plain || c_floats || c_times)) as texts,
           bool_or(c.type = any (c_floats || c_times)) as has_plus,
           bool_or(c.type = any (c_times)) as has_times,
           bool_and(c.name = pgq._urlencode(c.name)) as is_plain
      into v_pairs
      from (select c.place, c.name, c.type, pgq_gen._column(i_row, c.name) as value,
                   concat(case when row_number() over (order by c.place) > 1 then '&' end, c.name) as head
              from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
             where not c.is_hidden) c;
    if v_pairs.is_plain is not true then
        return null;
    end if;
    v_filled := pgq_gen._filled(
        v_pairs.columns, v_pairs.types, v_pairs.heads, array_fill('s'::text, array[cardinality(v_pairs.columns)]),
        v_pairs.columns, v_pairs.nulls, '');
    v_code := format(
        E'        if %s operator(pg_catalog.=) 0 then\n'
        '            v_data := %s;\n'
        '        else\n'
        '            v_data := %s;\n'
        '        end if;\n', v_filled.nulls, v_filled.whole, v_filled.partial);

    if v_pairs.has_plus then
        v_encoded := format('pg_catalog.replace(%s, ''+'', ''%%2b'')', v_encoded);
    end if;
    if not i_minimal and (v_pairs.has_times or v_pairs.texts is not null) then
        v_encoded := format('pg_catalog.replace(%s, '' '', ''+'')', v_encoded);
    end if;
    if not i_minimal and v_pairs.has_times then
        v_encoded := format('pg_catalog.replace(pg_catalog.replace(%s, '':'', ''%%3a''), ''/'', ''%%2f'')', v_encoded);
    end if;
    v_encoded := case when v_encoded <> 'v_data' then format(E'v_data := %s;\n', v_encoded) else '' end;
    if v_pairs.texts is null then
        return concat(v_code, '        ', v_encoded);
    end if;
    return concat(
        format(E'        v_value := %s;\n', pgq_gen._joined(v_pairs.texts)),
        v_code,
        format(E'        if v_value operator(pg_catalog.!~) %L then\n            %s',
               case when i_minimal then '[%+&=]' else '[^A-Za-z0-9_. -]' end,
               case when v_encoded = '' then E'null;\n' else v_encoded end),
        case when not i_minimal then
            E'        elsif v_value operator(pg_catalog.!~) ''[^ -%''''-<>-~]'' then\n'
            '            v_data := pgq_gen.encode_row(v_data, v_value);\n' end,
        format(E'        else\n            v_data := %s;\n        end if;\n',
               pgq_gen._row_data('urlenc', i_row, i_names, i_types, i_is_hidden, i_minimal, false)));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
