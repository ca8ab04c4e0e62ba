create or replace function pgq._capture_expression(i_expression text, i_names text[], i_known text[])
returns text as $$
-- pgq._capture_expression(3): turns an expression of a trigger argument into a query.
-- Parameters:
--      i_expression      SQL, in which a bare word that is a column's raw name stands for its value
--      i_names           columns
--      i_known           names that the expression has for them; null: the same
-- Returns:  text of a SELECT over row $1: the value as text, and its type. Replaced by words, not by
--           grammar: names with a dot or in quotes, strings, comments and numbers stay
-- Raises:   "QB: syntax error" for an unfinished string, name or comment
-- Used by:  pgq._capture
declare
    v_rest  text := i_expression;
    v_token text;
    v_depth integer;
    v_end   integer;
    v_sql   text := '';
    v_known text[] := coalesce(i_known, i_names);
begin
    while v_rest <> '' loop
        v_token := substring(v_rest from E'^(?:[eE]''(?:[^''\\\\]|\\\\.|'''')*''|''(?:[^'']|'''')*'')');
        if v_token is null then
            -- A word with what is attached to it; letters are also all characters beyond ASCII.
            v_token := substring(v_rest from
                E'^(?:[A-Za-z_]|[^\\u0001-\\u007f])(?:[A-Za-z0-9_.]|[^\\u0001-\\u007f]|"(?:[^"]|"")*")*');
            if v_token = any (v_known) then
                v_sql := v_sql || format('(($1).%I)', i_names[array_position(v_known, v_token)]);
                v_rest := substr(v_rest, length(v_token) + 1);
                continue;
            end if;
        end if;
        if v_token is null then
            v_token := substring(v_rest from E'^(?:[0-9][0-9A-Za-z_.]*|"(?:[^"]|"")*"|--[^\\n]*|[[:space:]]+)');
        end if;
        if v_token is null and v_rest like '/*%' then
            v_depth := 1;
            v_end := 3;
            while v_depth > 0 and v_end <= length(v_rest) loop
                if substr(v_rest, v_end, 2) = '*/' then
                    v_depth := v_depth - 1;
                    v_end := v_end + 2;
                elsif substr(v_rest, v_end, 2) = '/*' then
                    v_depth := v_depth + 1;
                    v_end := v_end + 2;
                else
                    v_end := v_end + 1;
                end if;
            end loop;
            if v_depth = 0 then
                v_token := left(v_rest, v_end - 1);
            end if;
        elsif v_token is null and v_rest ~ E'^\\$(?:[A-Za-z_][A-Za-z0-9_]*)?\\$' then
            v_token := substring(v_rest from E'^\\$(?:[A-Za-z_][A-Za-z0-9_]*)?\\$');
            v_end := strpos(substr(v_rest, length(v_token) + 1), v_token);
            v_token := case when v_end > 0 then left(v_rest, v_end + 2 * length(v_token) - 1) end;
        elsif v_token is null and v_rest !~ '^[''"]' then
            v_token := left(v_rest, 1);
        end if;
        if v_token is null then
            raise exception 'QB: syntax error' using detail = 'expression: ' || i_expression;
        end if;
        v_sql := v_sql || v_token;
        v_rest := substr(v_rest, length(v_token) + 1);
    end loop;
    -- The line end shuts a comment off.
    return 'select case when pg_catalog.num_nulls(x.value) operator(pg_catalog.=) 0'
           ' then pg_catalog.format(''%s'', x.value) end, pg_catalog.pg_typeof(x.value)::pg_catalog.oid'
           ' from (select ' || v_sql || E'\n) x (value)';
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
