create or replace function londiste.provider_create_trigger(i_queue_name text, i_table_name text, i_col_types text)
returns integer as $$
-- londiste.provider_create_trigger(3): creates the capture of a registered table's changes, or brings it up
--           to date.
-- Parameters:
--      i_queue_name    queue that gets the events
--      i_table_name    a registered table
--      i_col_types     as londiste.find_column_types gives them
-- Returns:  1
-- Raises:   "table not found", registered or in the catalog; duplicate_object if a trigger of the name is
--           no capture; wrong_object_type if the table cannot be captured whole; what pgq.create_capture
--           raises
-- Reads:    londiste.provider_table
-- Changes:  triggers of the table, pgq.capture
-- Locks:    SHARE ROW EXCLUSIVE on the table
declare
    v_table     londiste.provider_table;
    v_oid       oid;
    v_clash     text;
    v_name      text;
begin
    select * into v_table
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
    if to_regprocedure('pgq.create_capture(regclass, text, text, text, text[])') is null then
        raise exception 'the PgQ of this database does not generate captures'
            using errcode = 'feature_not_supported',
                  hint = 'Bring it up to date: pgqadm INI upgrade';
    end if;

    perform pgq.create_capture(v_oid::regclass, v_table.trigger_name, 'sql', v_table.capture_level,
                               londiste.trigger_args(i_queue_name, i_table_name, i_col_types));

    v_name := londiste.truncate_trigger_name(v_table.trigger_name);
    if v_table.capture_truncate then
        execute format('create or replace trigger %I after truncate on %s for each statement '
                       'execute function londiste.log_truncate(%L, %L)',
                       v_name, v_oid::regclass, i_queue_name, i_table_name);
        -- Replaced, it may still be disabled.
        execute format('alter table only %s enable trigger %I', v_oid::regclass, v_name);
    end if;
    return 1;
end;
$$ language plpgsql strict security definer set search_path = pg_catalog, pg_temp;
