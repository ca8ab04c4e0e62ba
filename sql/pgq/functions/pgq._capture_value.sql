create or replace function pgq._capture_value(i_format text, i_row text, i_column text, i_type oid)
returns text as $$
-- pgq._capture_value(4): SQL expression for the text of a column.
-- Parameters:
--      i_format      json for JSON, else what the output function of the type writes
--      i_row         expression of the row
--      i_column      raw name of the column
--      i_type        its type
-- Returns:  the expression, every name in it qualified; it is null for a null
-- Used by:  pgq._capture_columns
    select format(
        -- Not "is null", which is true for a row of nulls; not a cast, which is not the output function.
        'case when pg_catalog.num_nulls(%1$s) operator(pg_catalog.=) 0 then %2$s end',
        v.value,
        case
            when i_format <> 'json' or i_type in (20, 21, 23) then
                format('pg_catalog.format(''%%s'', %s)', v.value)
            -- boolean, date, timestamp, timestamptz; a domain over them is text like all the rest
            when i_type in (16, 1082, 1114, 1184) then
                format('pg_catalog.to_json(%s)::pg_catalog.text', v.value)
            else
                format('pg_catalog.to_json(pg_catalog.format(''%%s'', %s))::pg_catalog.text', v.value)
        end)
      from (select format('(%s).%I', i_row, i_column)) v (value);
$$ language sql immutable set search_path = pg_catalog, pgq, pg_temp;
