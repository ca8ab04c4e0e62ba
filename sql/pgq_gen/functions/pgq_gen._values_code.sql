create or replace function pgq_gen._values_code(
    i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_is_filled boolean[], i_pinned boolean)
returns text as $$
-- pgq_gen._values_code(6): writes the statements for one inserted row as the part of an INSERT behind the table.
-- Parameters:
--      i_is_filled      columns that are never null; null: none is known
--      others           as for pgq_gen._values
-- Returns:  PL/pgSQL that sets v_data to what the expression of pgq_gen._values gives
-- Used by:  pgq_gen._row_code
declare
    -- Types whose text has no comma.
    c_plain     constant oid[] := '{int2,int4,int8,oid,numeric,uuid,boolean,float4,float8,date,timestamp,timestamptz}'
                                  ::regtype[]::oid[];
    v_names     text;
    v_parts     record;
    v_filled    record;
    v_replace   text := E'v_data := pg_catalog.replace(v_data, '',NULL'', '',null'');\n';
begin
    select string_agg(quote_ident(c.name), ',' order by c.place) into v_names
      from unnest(i_names, i_is_hidden) with ordinality c (name, is_hidden, place)
     where not c.is_hidden;
    if v_names is null then
        return E'        v_data := ''() values ()'';\n';
    end if;
    select array_agg(c.value order by c.place) as columns, array_agg(c.type order by c.place) as types,
           array_agg(c.head order by c.place) as heads, array_agg(c.head || 'null' order by c.place) as nulls,
           array_agg(c.piece[1] order by c.place) as kinds, array_agg(c.piece[2] order by c.place) as arguments,
           array_agg(c.value order by c.place) filter (where c.type <> all (c_plain)) as texts,
           (array_agg(c.is_filled order by c.place))[1] as is_filled
      into v_parts
      from (select c.place, c.type, coalesce(i_is_filled[c.place], false) as is_filled,
                   pgq_gen._column(i_row, c.name) as value,
                   case row_number() over (order by c.place)
                        when 1 then format('(%s) values (', replace(v_names, '%', '%%')) else ',' end as head,
                   pgq_gen._quoted(pgq_gen._column(i_row, c.name), c.type, i_pinned) as piece
              from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
             where not c.is_hidden) c;
    v_filled := pgq_gen._filling(v_parts.columns, v_parts.types, v_parts.heads, v_parts.kinds, v_parts.arguments,
                                v_parts.nulls, ')');
    if strpos(v_names, ',NULL') > 0 then
        return format(E'        v_data := %s;\n', v_filled.partial);
    end if;

    -- The call writes NULL where null is wanted. A text may hold the same.
    if v_parts.texts is not null then
        v_replace := format(
            E'if pg_catalog.strpos(%s, '',NULL'') operator(pg_catalog.=) 0 then\n'
            '                %s'
            '            else\n'
            '                v_data := %s;\n'
            '            end if;\n', pgq_gen._joined('', v_parts.texts), v_replace, v_filled.partial);
    end if;
    return format(
        E'        v_data := %s;\n'
        '        %s pg_catalog.strpos(v_data, '',NULL'') operator(pg_catalog.>) 0 then\n'
        '            %s'
        '        end if;\n',
        v_filled.whole,
        case when v_parts.is_filled then 'if'
             else format(E'if %s then\n            v_data := %s;\n        elsif',
                         pgq_gen._is_null(v_parts.columns[1:1], v_parts.types[1]), v_filled.partial) end,
        v_replace);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
