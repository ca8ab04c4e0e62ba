create or replace function pgq_gen._is_json(i_type oid)
returns boolean as $$
-- pgq_gen._is_json(1): whether the server writes a field of a type into the JSON of its row just as pgq_gen._json does.
-- Parameters:
--      i_type      type of a column
-- Returns:  true for integers, booleans, dates and times, and types of the server itself whose text becomes a string
-- Used by:  pgq_gen._json_fields, pgq_gen._json_row
    select i_type = any ('{int2,int4,int8,boolean,date,timestamp,timestamptz,text,varchar,bpchar,uuid,oid,bytea,time,
                           timetz,interval,inet,cidr,macaddr}'::regtype[]::oid[]);
$$ language sql stable set search_path = pg_catalog, pg_temp;
