create or replace function pgq_gen._guard_code(i_table oid, i_format text, i_args text[])
returns text as $$
-- pgq_gen._guard_code(3): writes the statements that log rows one by one, once a partitioned table has become a
-- partition itself: statements on its root call no trigger for statements of it, only those for rows.
-- Parameters:
--      i_table       captured table
--      i_format      sql, urlenc or json
--      i_args        arguments of the trigger
-- Returns:  PL/pgSQL, which returns if the table is a partition by now; null for a table that is not partitioned
-- Used by:  pgq_gen._function
begin
    if (select c.relkind <> 'p' from pg_class c where c.oid = i_table) then
        return null;
    end if;
    return format(
        E'    if TG_LEVEL operator(pg_catalog.=) ''ROW'' then\n'
        '        if pg_catalog.current_setting(''session_replication_role'') operator(pg_catalog.=) ''local'' then\n'
        '            return null;\n'
        '        end if;\n'
        '        select n.nspname, c.relname into v_type, v_data\n'
        '          from pg_catalog.pg_partition_ancestors(TG_RELID) a\n'
        '          join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.relid\n'
        '          join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace\n'
        '         where c.oid operator(pg_catalog.=) %1$s;\n'
        '        if TG_OP operator(pg_catalog.=) ''INSERT'' then\n'
        '            v_skip := %2$s NEW, NEW);\n'
        '        elsif TG_OP operator(pg_catalog.=) ''UPDATE'' then\n'
        '            v_skip := %2$s NEW, OLD);\n'
        '        else\n'
        '            v_skip := %2$s OLD, OLD);\n'
        '        end if;\n'
        '        return null;\n'
        '    elsif pg_catalog.pg_partition_root(TG_RELID) operator(pg_catalog.<>) TG_RELID then\n'
        '        return null;\n'
        '    end if;\n',
        i_table,
        format('pgq._capture(%L, true, TG_OP, TG_WHEN, TG_RELID, coalesce(v_type, TG_TABLE_SCHEMA),'
               ' coalesce(v_data, TG_TABLE_NAME), %L,', i_format, pgq_gen._argv(i_args)));
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
