create or replace function pgq._keep_generated(i_table oid, i_new anyelement, i_old anyelement, out o_row anyelement)
as $$
-- pgq._keep_generated(3): the new row of an UPDATE as a trigger BEFORE it logs it. The server computes stored columns
-- after such triggers, and PL/pgSQL shows nulls there: that would look like a change.
-- Parameters:
--      i_table           table
--      i_new, i_old      the rows
-- Returns:  the new row, with the values that its generated columns had so far
-- Reads:    pg_attribute
-- Used by:  pgq.sqltriga, pgq.logutriga, pgq.jsontriga, generated captures with SKIP
declare
    v_query     pg_catalog.text;
begin
    select case when pg_catalog.bool_or(a.attgenerated operator(pg_catalog.=) 's')
                then pg_catalog.concat('select ', pg_catalog.string_agg(
                         pg_catalog.format(case when a.attgenerated operator(pg_catalog.=) 's' then '($2).%I' else '($1).%I' end,
                                           a.attname), ', ' order by a.attnum)) end
      into v_query
      from pg_catalog.pg_attribute a
     where a.attrelid operator(pg_catalog.=) i_table
       and a.attnum operator(pg_catalog.>) 0
       and not a.attisdropped;
    if v_query is null then
        o_row := i_new;
    else
        execute v_query into o_row using i_new, i_old;
    end if;
end;
-- No pinned search_path: it would cost more than the rest, and every name is qualified.
$$ language plpgsql stable;
