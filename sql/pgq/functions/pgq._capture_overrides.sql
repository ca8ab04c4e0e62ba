create or replace function pgq._capture_overrides(
    i_expressions text[], i_names text[], i_known text[],
    out place integer, out query text, out literal text)
returns setof record as $$
-- pgq._capture_overrides(3): the expressions of a trigger's arguments, ready to evaluate.
-- Parameters:
--      i_expressions      of ev_type, ev_data, ev_extra1 to ev_extra4 and when; null where not given
--      i_names, i_known   as for pgq._capture_expression
-- Returns:  a row per expression, in order: its place from 1; its query, or the value of one that is
--           merely a string, or null for one that is empty. A semicolon behind it counts for nothing
-- Raises:   "QB: syntax error"
-- Used by:  pgq._capture, pgq_gen._function, pgq_gen._check_statement
declare
    c_when          constant integer := 7;
    v_expression    text;
begin
    for i in 1 .. cardinality(i_expressions) loop
        v_expression := rtrim(ltrim(i_expressions[i], E' \t\n'), E' \t\n;');
        continue when v_expression is null;
        place := i;
        query := null;
        literal := null;
        if v_expression ~ E'^''(?:[^''\\\\]|'''')*''$' then
            literal := replace(substr(v_expression, 2, length(v_expression) - 2), '''''', '''');
        elsif v_expression = '' then
            -- A SELECT without columns: nothing, and of no type.
            query := case when c_when = i then 'select null::pg_catalog.text, 0::pg_catalog.oid' end;
        else
            query := pgq._capture_expression(v_expression, i_names, i_known);
        end if;
        return next;
    end loop;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
