create or replace function londiste.trigger_args(i_queue_name text, i_table_name text, i_col_types text)
returns text[] as $$
-- londiste.trigger_args(3): arguments of the capture trigger of a table.
-- Parameters:
--      i_queue_name    queue that gets the events
--      i_table_name    an existing table, raw; events carry this name whatever the table is called later
--      i_col_types     as londiste.find_column_types gives them; columns beyond its end are ignored
-- Returns:  arguments for pgq.create_capture. Generated columns are ignored, whatever their letter: they
--           stand in no INSERT. The key is named only if it is not the primary key; an empty list makes
--           updates and deletes errors. Where rows can have the same key for a while, because it is
--           deferrable, updates and deletes carry the old row. Generic triggers have no options.
-- Raises:   "table not found"; invalid_name if a column list, which knows no quotes, would be ambiguous
-- Reads:    londiste.provider_table
-- Used by:  londiste.provider_create_trigger
declare
    v_table     londiste.provider_table;
    v_ignore    text[];
    v_key       text[];
    v_primary   boolean;
    v_column    text;
    v_args      text[];
begin
    select * into v_table
      from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name;
    select coalesce(array_agg(c.name) filter (where c.ignored), '{}'),
           coalesce(array_agg(c.name) filter (where c.letter = 'k'), '{}'),
           bool_and((c.letter is not distinct from 'k') = c.is_primary)
      into v_ignore, v_key, v_primary
      from (select a.attname::text as name,
                   substr(i_col_types, nr, 1) as letter,
                   a.attgenerated <> '' or substr(i_col_types, nr, 1) in ('i', '') as ignored,
                   coalesce(a.attnum = any (k.columns), false) as is_primary
              from (select p.*, row_number() over (order by p.attnum)::integer as nr
                      from pg_catalog.pg_attribute p
                     where p.attrelid = londiste.find_table_oid(i_table_name)
                       and p.attnum > 0 and not p.attisdropped) a
              left join lateral (
                    select array(select i.indkey[n] from generate_series(0, i.indnkeyatts - 1) n) as columns
                      from pg_catalog.pg_index i
                     where i.indrelid = a.attrelid and i.indisprimary) k on true) c;

    v_args := array[i_queue_name, 'ev_extra1=' || quote_literal(i_table_name)];
    if cardinality(v_ignore) > 0 then
        v_args := v_args || ('ignore=' || array_to_string(v_ignore, ','));
    end if;
    if v_table.insert_only then
        v_primary := false;
        v_key := '{}';
    end if;
    if not v_primary then
        v_args := v_args || ('pkey=' || array_to_string(v_key, ','));
    end if;

    -- A name stands in a list if commas or blanks surround it: another column could be meant.
    select a.attname into v_column
      from pg_catalog.pg_attribute a,
           (values (v_ignore), (case when v_primary then '{}' else v_key end)) l (names)
     where a.attrelid = londiste.find_table_oid(i_table_name) and a.attnum > 0 and not a.attisdropped
       and a.attname::text <> all (l.names)
       and strpos(',' || regexp_replace(array_to_string(l.names, ','), E'\\s', ',', 'g') || ',',
                  ',' || regexp_replace(a.attname, E'\\s', ',', 'g') || ',') > 0
     limit 1;
    if found then
        raise exception 'column "%" cannot be told from columns that are ignored or keys', v_column
            using errcode = 'invalid_name',
                  hint = 'Rename the column whose name holds a comma or a blank.';
    end if;

    if v_table.capture_level = 'generic' then
        return v_args;
    end if;
    v_args := v_args || array['key_updates=log', 'changes=text', 'settings=pinned'];
    if v_primary and exists (select from pg_catalog.pg_index i
                              where i.indrelid = londiste.find_table_oid(i_table_name)
                                and i.indisprimary
                                and not i.indimmediate) then
        v_args := v_args || 'backup=changes'::text;
    end if;
    return v_args;
end;
$$ language plpgsql strict stable set search_path = pg_catalog, pg_temp;
