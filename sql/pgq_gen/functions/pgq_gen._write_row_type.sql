create or replace function pgq_gen._write_row_type(
    i_function text, i_table oid, i_format text, i_level text, i_args text[])
returns void as $$
-- pgq_gen._write_row_type(5): creates the type of the rows that a capture turns into JSON, if it needs one.
-- Parameters:
--      i_function      name of the capture's function
--      i_table, i_format, i_level, i_args      as for pgq_gen._write
-- Raises:   as pgq._capture_options and pgq._capture_columns
-- Reads:    the definition of the table
-- Changes:  types in pgq_gen. One with other names of fields goes: the table was changed under a lock that no writer
--           holds along. Others stay for functions that still run, until the capture goes
-- Used by:  pgq_gen._write
declare
    v_options   record;
    v_columns   record;
    v_fields    text;
    v_old       regtype;
begin
    if i_format <> 'json' or i_level = 'statement' then
        return;
    end if;
    v_options := pgq._capture_options(
        i_format, i_level <> 'generic', case when 'SKIP' = any (i_args[2:]) then 'BEFORE' else 'AFTER' end,
        pgq_gen._argv(i_args));
    v_columns := pgq._capture_columns(pgq._known_columns(i_table, i_format, pgq_gen._argv(i_args)),
                                      v_options.ignored, v_options.keys, v_options.kinds);
    v_fields := pgq_gen._json_fields(v_columns.names, v_columns.types, v_columns.is_hidden);
    for v_old in
        select t.type
          from pgq_gen._row_types(i_function) t
         where t.names is distinct from (select array_agg(c.name order by c.place)
                                           from unnest(v_columns.names, v_columns.is_hidden)
                                                with ordinality c (name, is_hidden, place)
                                          where not c.is_hidden)
    loop
        execute format('drop type %s', v_old);
    end loop;
    if v_fields is not null
       and to_regtype(format('pgq_gen.%I', pgq_gen._row_type(i_function, v_fields))) is null then
        execute format('create type pgq_gen.%I as (%s)', pgq_gen._row_type(i_function, v_fields), v_fields);
    end if;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
