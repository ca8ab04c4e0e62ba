create or replace function pgq_gen._values_code(
    i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_pinned boolean)
returns text as $$
-- pgq_gen._values_code(5): writes the statements for one inserted row as the part of an INSERT behind the table.
-- Parameters:
--      as for pgq_gen._values
-- Returns:  PL/pgSQL that sets v_data to what the expression of pgq_gen._values gives
-- Used by:  pgq_gen._row_code
declare
    v_head      text;
    v_parts     record;
begin
    select replace(string_agg(quote_ident(c.name), ',' order by c.place), '%', '%%') into v_head
      from unnest(i_names, i_is_hidden) with ordinality c (name, is_hidden, place)
     where not c.is_hidden;
    if v_head is null then
        return E'        v_data := ''() values ()'';\n';
    end if;
    v_head := concat('(', v_head, ') values (');
    select array_agg(c.value order by c.place) as columns, array_agg(c.type order by c.place) as types,
           array_agg(c.head order by c.place) as heads, array_agg(c.head || 'null' order by c.place) as nulls,
           array_agg(c.piece[1] order by c.place) as kinds, array_agg(c.piece[2] order by c.place) as arguments
      into v_parts
      from (select c.place, c.type, pgq_gen._column(i_row, c.name) as value,
                   case row_number() over (order by c.place) when 1 then v_head else ',' end as head,
                   pgq_gen._quoted(pgq_gen._column(i_row, c.name), c.type, i_pinned) as piece
              from unnest(i_names, i_types, i_is_hidden) with ordinality c (name, type, is_hidden, place)
             where not c.is_hidden) c;
    return pgq_gen._fill_code(v_parts.columns, v_parts.types, v_parts.heads, v_parts.kinds, v_parts.arguments, null,
                              v_parts.nulls, ')');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
