create or replace function pgq_gen._dispatch_code(i_relations oid[])
returns text as $$
-- pgq_gen._dispatch_code(1): writes the tree of conditions that finds the function of a generic trigger.
-- Parameters:
--      i_relations      tables with such triggers, in order
-- Returns:  PL/pgSQL; what it does not find falls through
-- Reads:    pgq.capture
-- Used by:  pgq_gen._write_dispatch
declare
    v_count     integer := cardinality(i_relations);
    v_capture   record;
    v_code      text := '';
begin
    if v_count > 1 then
        return format(E'    if i_table operator(pg_catalog.<) %L::pg_catalog.oid then\n%s    else\n%s    end if;\n',
                      i_relations[v_count / 2 + 1],
                      pgq_gen._dispatch_code(i_relations[1:v_count / 2]),
                      pgq_gen._dispatch_code(i_relations[v_count / 2 + 1:]));
    end if;
    for v_capture in
        select c.cap_trigger, c.cap_format, c.cap_function
          from pgq.capture c
         where c.cap_relid = any (i_relations)
           and c.cap_level = 'generic'
         order by c.cap_trigger
    loop
        v_code := v_code || format(
            E'    if i_table operator(pg_catalog.=) %L::pg_catalog.oid and i_trigger operator(pg_catalog.=) %L::pg_catalog.name'
            ' and i_format operator(pg_catalog.=) %L then\n'
            '        return pgq_gen.%I(i_op, i_args, i_row, i_old);\n'
            '    end if;\n',
            i_relations[1], v_capture.cap_trigger, v_capture.cap_format, v_capture.cap_function);
    end loop;
    return v_code;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
