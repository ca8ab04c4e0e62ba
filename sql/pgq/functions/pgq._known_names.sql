create or replace function pgq._known_names(i_table oid, i_format text, i_args text[], i_names text[])
returns text[] as $$
-- pgq._known_names(4): names by which the arguments of a capture know the columns of its table. They were those of
-- the columns when the arguments were given, and who renames a column does not rename it there.
-- Parameters:
--      i_table      captured table, or a partition of it
--      i_format     format of the capture
--      i_args       its arguments, from 0
--      i_names      columns as they are called now
-- Returns:  a name for each column, '' for a new one whose name means another; null if the capture is not
--           registered, and nobody knows whether its arguments were right
-- Reads:    pgq.capture, names of columns
-- Used by:  pgq._capture, pgq._known_columns
declare
    v_capture   record;
    v_known     text[] := array_fill(null::text, array[cardinality(i_names)]);
    v_place     integer;
begin
    if not exists (select from unnest(i_args[1:]) a (arg) where a.arg ~ '^(ignore|pkey|when|ev_[a-z0-9]+)=') then
        return i_names;
    end if;
    select c.cap_relid, c.cap_columns into v_capture
      from pgq.capture c
     where c.cap_relid in (select i_table
                            union all
                           select a.relid from pg_partition_ancestors(i_table) a)
       and c.cap_format = i_format
       and c.cap_args = i_args[0:]
       and c.cap_columns is not null
     order by c.cap_relid <> i_table
     limit 1;
    if not found then
        return null;
    elsif array_remove(v_capture.cap_columns, null) = i_names then
        return i_names;
    end if;
    for i in 1 .. cardinality(v_capture.cap_columns) loop
        v_place := array_position(i_names, pgq._column_name(v_capture.cap_relid, i));
        if v_place is not null then
            v_known[v_place] := v_capture.cap_columns[i];
        end if;
    end loop;
    return array(
        select coalesce(k.known, case when k.name = any (v_known) then '' else k.name end)
          from unnest(i_names, v_known) with ordinality k (name, known, place)
         order by k.place);
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
