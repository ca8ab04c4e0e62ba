create or replace function pgq_gen._plain_code(i_code text, i_is_late boolean)
returns text as $$
-- pgq_gen._plain_code(2): writes the statement that sets v_plain, for code that asks for it.
-- Parameters:
--      i_code         PL/pgSQL that follows
--      i_is_late      whether v_plain may have been set before
-- Returns:  PL/pgSQL, null if the code does not name v_plain
-- Used by:  pgq_gen._row_code, pgq_gen._set_code, pgq_gen._function
    select format(case when i_is_late then E'            if v_plain is null then\n                %s            end if;\n'
                       else '        %s' end,
                  E'v_plain := pg_catalog.left(pg_catalog.current_setting(''DateStyle''), 3) operator(pg_catalog.=) ''ISO'''
                  ' and pg_catalog.current_setting(''extra_float_digits'') collate pg_catalog."C" operator(pg_catalog.>) ''0'';\n')
     where strpos(i_code, 'v_plain') > 0;
$$ language sql immutable set search_path = pg_catalog, pg_temp;
