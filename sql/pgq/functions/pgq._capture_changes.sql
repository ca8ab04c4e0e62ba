create or replace function pgq._capture_changes(
    i_names text[], i_types oid[], i_collations oid[], i_new text[], i_old text[],
    i_by_text boolean, i_equal boolean[],
    out changed boolean[], out query text)
as $$
-- pgq._capture_changes(7): which columns an UPDATE changed.
-- Parameters:
--      i_names, i_types, i_collations      columns
--      i_new, i_old      text of the new and the old row
--      i_by_text         whether equal values that read differently have changed
--      i_equal           result of query, once it was asked
-- Returns:  changed, or, if the text does not tell, a query for $1 and $2, the new and the old row: an
--           array that says which columns are equal, null where the text tells
-- Used by:  pgq._capture
declare
    v_equal text[] := array_fill('null'::text, array[cardinality(i_names)]);
    v_ask   boolean := false;
begin
    for i in 1 .. cardinality(i_names) loop
        changed[i] := i_new[i] collate "C" is distinct from i_old[i];
        if i_equal[i] is not null then
            changed[i] := not i_equal[i];
        elsif i_equal is null and not i_by_text and i_new[i] is not null and i_old[i] is not null
              and not pgq._text_decides(i_types[i], i_collations[i], not changed[i]) then
            -- By the default equality of the type and the collation of the column.
            v_equal[i] := format('%s(row(($1).%2$I), row(($2).%2$I))',
                                 case when (select t.typtype from pg_type t where t.oid = i_types[i]) in ('c', 'd')
                                      then 'pgq_gen.same_row' else 'pg_catalog.record_eq' end,
                                 i_names[i]);
            v_ask := true;
        end if;
    end loop;
    if v_ask then
        query := 'select array[' || array_to_string(v_equal, ', ') || ']::pg_catalog.bool[]';
    end if;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
