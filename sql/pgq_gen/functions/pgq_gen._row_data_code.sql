create or replace function pgq_gen._row_data_code(
    i_format text, i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_minimal boolean)
returns text as $$
-- pgq_gen._row_data_code(6): writes the statements for one whole row.
-- Parameters:
--      as for pgq_gen._row_data
-- Returns:  PL/pgSQL that sets v_data to what the expression of pgq_gen._row_data gives
-- Used by:  pgq_gen._row_code
declare
    -- Types whose text is the value.
    c_plain     constant oid[] := '{int2,int4,int8,oid,numeric,uuid}'::regtype[]::oid[];
    -- Types that the server writes into an object of a row just as pgq_gen._json does.
    c_alike     constant oid[] := '{int2,int4,int8,boolean,date,timestamp,timestamptz,text,varchar,bpchar,uuid}'
                                  ::regtype[]::oid[];
    v_is_json   constant boolean := i_format = 'json';
    v_parts     record;
begin
    if v_is_json and i_types <@ c_alike and not true = any (i_is_hidden) then
        return format(E'        v_data := pg_catalog.row_to_json(%s)::pg_catalog.text;\n', i_row);
    end if;
    select array_agg(c.value order by c.place) as columns, array_agg(c.type order by c.place) as types,
           array_agg(replace(c.head || c.before, '%', '%%') order by c.place) as heads,
           array_agg(c.quote order by c.place) as tails,
           array_agg(replace(c.head || c.after_null, '%', '%%') order by c.place) as nulls,
           array_agg(case when c.is_plain then c.value
                          when v_is_json then pgq_gen._json(c.value, c.type)
                          else pgq_gen._encoded(c.value, c.type, i_minimal, false) end order by c.place) as arguments
      into v_parts
      from (select c.place, c.type, c.value, c.is_plain, q.quote,
                   concat(case when c.is_first then case when v_is_json then '{' end
                               when v_is_json then ',' else '&' end,
                          case when v_is_json then to_json(c.name)::text else pgq._urlencode(c.name) end) as head,
                   concat(case when v_is_json then ':' else '=' end, q.quote) as before,
                   case when v_is_json then ':null' else '' end as after_null
              from (select c.place, c.name, c.type, pgq_gen._column(i_row, c.name) as value,
                           c.type = any (c_plain) as is_plain,
                           row_number() over (order by c.place) = 1 as is_first
                      from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
                     where not c.is_hidden) c,
                   lateral (select case when v_is_json and c.type = any ('{oid,numeric,uuid}'::regtype[]::oid[])
                                        then '"' else '' end as quote) q) c;
    if v_parts.columns is null then
        return format(E'        v_data := %s;\n',
                      pgq_gen._row_data(i_format, i_row, i_names, i_types, i_is_hidden, i_minimal, false));
    end if;
    return pgq_gen._fill_code(
        v_parts.columns, v_parts.types, v_parts.heads, array_fill('s'::text, array[cardinality(v_parts.columns)]),
        v_parts.arguments, v_parts.tails, v_parts.nulls, case when v_is_json then '}' else '' end);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
