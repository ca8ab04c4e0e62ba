create or replace function pgq_gen._values(
    i_row text, i_names text[], i_types oid[], i_is_hidden boolean[], i_pinned boolean)
returns text as $$
-- pgq_gen._values(5): writes the expression for an inserted row as the part of an INSERT behind the table.
-- Parameters:
--      i_row           the row: NEW
--      i_names, i_types, i_is_hidden      columns in table order
--      i_pinned        as for pgq_gen._text
-- Returns:  SQL of type text: (a,b) values ('1',null)
-- Used by:  pgq_gen._statement_code
declare
    v_columns   text[] := '{}';
    v_values    text[] := '{}';
begin
    for i in 1 .. cardinality(i_names) loop
        if not i_is_hidden[i] then
            v_columns := v_columns || quote_ident(i_names[i]);
            v_values := v_values || format('coalesce(%s, ''null'')',
                pgq_gen._literal(pgq_gen._column(i_row, i_names[i]), i_types[i], i_pinned));
        end if;
    end loop;
    return format('pg_catalog.concat(%L, %s, '')'')', '(' || array_to_string(v_columns, ',') || ') values (',
                  pgq_gen._concat(',', v_values));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
