create or replace function londiste.provider_create_trigger(i_queue_name text, i_table_name text, i_col_types text)
returns integer as $$
-- londiste.provider_create_trigger(3): creates the trigger that captures a registered table's changes.
-- Parameters:
--      i_queue_name    queue that gets the events
--      i_table_name    a registered table
--      i_col_types     as londiste.find_column_types gives them
-- Returns:  1
-- Raises:   "table not found", registered or in the catalog; duplicate_object if the trigger exists;
--           wrong_object_type if the table cannot be captured whole
-- Reads:    londiste.provider_table
declare
    v_oid       oid;
    v_trigger   text;
    v_clash     text;
begin
    select trigger_name into v_trigger
      from londiste.provider_table
     where queue_name = i_queue_name and table_name = i_table_name;
    if not found then
        raise exception 'table not found: % is not registered', i_table_name
            using errcode = 'undefined_object';
    end if;
    v_oid := londiste.find_table_oid(i_table_name);

    if exists (select 1 from pg_catalog.pg_class where oid = v_oid and relpersistence <> 'p') then
        raise exception 'table % is temporary or unlogged', i_table_name
            using errcode = 'wrong_object_type',
                  detail = 'Its rows can vanish without an event.';
    end if;
    -- The trigger of a partitioned table also stands on its partitions.
    select t.table_name into v_clash
      from londiste.provider_table t
      join (select relid from pg_catalog.pg_partition_ancestors(v_oid)
            union
            select relid from pg_catalog.pg_partition_tree(v_oid)) p
        on t.table_name = londiste.rel_fqname(p.relid)
     where t.queue_name = i_queue_name and p.relid <> v_oid;
    if found then
        raise exception 'table % belongs to the same partitioned table as %', i_table_name, v_clash
            using errcode = 'wrong_object_type',
                  hint = 'Register either the partitioned table or its partitions.';
    end if;

    execute format('create trigger %I after insert or update or delete on %s for each row '
                   || 'execute function pgq.sqltriga(%s)',
                   v_trigger, londiste.quote_fqname(i_table_name),
                   (select string_agg(quote_literal(a), ', ' order by n)
                      from unnest(londiste.trigger_args(i_queue_name, i_table_name, i_col_types))
                           with ordinality u (a, n)));
    return 1;
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
