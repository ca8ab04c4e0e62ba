create or replace function pgq_gen._statement_slow_code(i_format text, i_args text[])
returns text as $$
-- pgq_gen._statement_slow_code(2): writes the statements that log the rows of a statement one by one, while
-- the table is not what the capture was made for.
-- Parameters:
--      i_format      sql, urlenc or json
--      i_args        arguments of the trigger
-- Returns:  PL/pgSQL that reads the transition tables pgq_old and pgq_new, and returns
-- Used by:  pgq_gen._function
begin
    -- Rows of transition tables have no type until they are given that of the table, by its present name.
    return format(
        E'if TG_OP operator(pg_catalog.=) ''INSERT'' then\n'
        '            for v_pair in\n'
        '                execute format(''select %%s as new from pgq_new _pgq_x'', pgq_gen.whole_row(TG_RELID, ''_pgq_x''))\n'
        '            loop\n'
        '                v_skip := pgq._capture(%1$L, true, TG_OP, TG_WHEN, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, %2$L, v_pair.new, v_pair.new);\n'
        '            end loop;\n'
        '        elsif TG_OP operator(pg_catalog.=) ''UPDATE'' then\n'
        '            for v_pair in\n'
        '                execute format(''select o.old, n.new''\n'
        '                    '' from (select row_number() over () as place, %%1$s as old from pgq_old _pgq_x) o''\n'
        '                    '' join (select row_number() over () as place, %%1$s as new from pgq_new _pgq_x) n on n.place = o.place''\n'
        '                    '' order by o.place'', pgq_gen.whole_row(TG_RELID, ''_pgq_x''))\n'
        '            loop\n'
        '                v_skip := pgq._capture(%1$L, true, TG_OP, TG_WHEN, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, %2$L, v_pair.new, v_pair.old);\n'
        '            end loop;\n'
        '        else\n'
        '            for v_pair in\n'
        '                execute format(''select %%s as old from pgq_old _pgq_x'', pgq_gen.whole_row(TG_RELID, ''_pgq_x''))\n'
        '            loop\n'
        '                v_skip := pgq._capture(%1$L, true, TG_OP, TG_WHEN, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, %2$L, v_pair.old, v_pair.old);\n'
        '            end loop;\n'
        '        end if;\n'
        '        return null;', i_format, pgq_gen._argv(i_args));
end;
$$ language plpgsql immutable set search_path = pg_catalog, pg_temp;
