create or replace function pgq._keep_generated(i_table oid, i_new anyelement, i_old anyelement, out o_row anyelement)
as $$
-- pgq._keep_generated(3): the new row of an UPDATE as a trigger BEFORE it logs it. The server computes stored columns
-- after such triggers, and PL/pgSQL shows nulls there: that would look like a change.
-- Parameters:
--      i_table           table
--      i_new, i_old      the rows
-- Returns:  the new row, with the values that its generated columns had so far
-- Reads:    pg_attrdef, pg_attribute
-- Used by:  pgq.sqltriga, pgq.logutriga, pgq.jsontriga, generated captures with SKIP
declare
    v_query     pg_catalog.text;
begin
    -- Asked for every row. Most tables have few defaults, which expressions of generated columns are among.
    if not exists (select
                     from pg_catalog.pg_attrdef d
                    where d.adrelid operator(pg_catalog.=) i_table
                      and (select a.attgenerated operator(pg_catalog.=) 's'
                             from pg_catalog.pg_attribute a
                            where a.attrelid operator(pg_catalog.=) d.adrelid
                              and a.attnum operator(pg_catalog.=) d.adnum)) then
        o_row := i_new;
        return;
    end if;
    select pg_catalog.concat('select ', pg_catalog.string_agg(
               pg_catalog.format(case when a.attgenerated operator(pg_catalog.=) 's' then '($2).%I' else '($1).%I' end,
                                 a.attname), ', ' order by a.attnum))
      into v_query
      from pg_catalog.pg_attribute a
     where a.attrelid operator(pg_catalog.=) i_table
       and a.attnum operator(pg_catalog.>) 0
       and not a.attisdropped;
    execute v_query into o_row using i_new, i_old;
end;
-- No pinned search_path: it would cost more than the rest, and every name is qualified.
$$ language plpgsql stable;
