create or replace function pgq_gen.whole_row(i_table oid, i_alias text)
returns text as $$
-- pgq_gen.whole_row(2): writes a row of a transition table as one of the table's type, which it is not by itself.
-- Parameters:
--      i_table      the table
--      i_alias      alias of the transition table, the only one of the query
-- Returns:  SQL. Transition tables do not hold virtual columns, so these are computed; the server lets them use
--           nothing that somebody made. A transaction whose snapshot is older than the definition of the table does
--           not know which columns are virtual, and may name none: there the row goes by its text, with nulls for them
-- Reads:    the definition of the table
-- Used by:  generated captures of statements
    select case when current_setting('server_version_num')::integer >= 180000
                     and current_setting('transaction_isolation') <> 'read committed'
                     and exists (select
                                   from generate_series(1, 1600) n (number)
                                   left join pg_attribute a
                                     on a.attrelid = i_table and a.attnum = n.number and not a.attisdropped
                                  where pgq._column_name(i_table, n.number) is distinct from a.attname::text)
                then format('pg_catalog.format(''%%s'', %s)::%s', i_alias, i_table::regclass)
                when bool_or(a.attgenerated = 'v')
                then format('row(%s)::%s',
                            string_agg(case when a.attgenerated = 'v' then format('(%s)', pg_get_expr(d.adbin, d.adrelid))
                                            else format('%s.%I', i_alias, a.attname) end, ', ' order by a.attnum),
                            i_table::regclass)
                else format('%s::%s', i_alias, i_table::regclass) end
      from pg_attribute a
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = i_table
       and a.attnum > 0
       and not a.attisdropped;
$$ language sql stable set search_path = pg_catalog, pg_temp;
