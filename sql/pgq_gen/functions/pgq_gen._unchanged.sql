create or replace function pgq_gen._unchanged(
    i_new text, i_old text, i_type oid, i_collation oid, i_by_text boolean)
returns text as $$
-- pgq_gen._unchanged(5): writes the condition under which an UPDATE left a column as it was.
-- Parameters:
--      i_new, i_old             the column, as NEW."a" and OLD."a"
--      i_type, i_collation      of the column
--      i_by_text                whether equal values that read differently have changed
-- Returns:  SQL of type boolean: true if unchanged, false or null if changed
-- Used by:  pgq_gen._changed, pgq_gen._assignments, pgq_gen._row_code, pgq_gen._set_code
declare
    v_equal     text := pgq_gen._equality(i_type, i_new, i_old);
    v_same_text text := format('pg_catalog.concat(%s) collate pg_catalog."C" operator(pg_catalog.=)'
                               ' pg_catalog.concat(%s)', i_new, i_old);
    v_same      text;
begin
    if v_equal is null then
        v_same := format('(pg_catalog.num_nulls(%s, %s) operator(pg_catalog.=) 0 and %s)',
                         i_new, i_old, v_same_text);
    elsif i_by_text and i_type in ('text'::regtype, 'varchar'::regtype) then
        -- Whatever the collation calls equal.
        v_same := format('%s collate pg_catalog."C" operator(pg_catalog.=) %s', i_new, i_old);
    elsif not i_by_text or pgq._text_decides(i_type, i_collation, false) then
        v_same := v_equal;
    elsif i_type = 'numeric'::regtype then
        -- 1.0 and 1.00: sent with their scale.
        v_same := format('pg_catalog.numeric_send(%s) operator(pg_catalog.=) pg_catalog.numeric_send(%s)', i_new, i_old);
    elsif i_type in ('float4'::regtype, 'float8'::regtype) then
        -- 0 and -0.
        v_same := format('(%s and (%s operator(pg_catalog.<>) 0 or %s))', v_equal, i_new, v_same_text);
    else
        v_same := format('(%s and %s)', v_equal, v_same_text);
    end if;
    return v_same;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
