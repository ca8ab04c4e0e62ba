create or replace function pgq_gen._check_statement(i_table oid, i_format text, i_args text[])
returns void as $$
-- pgq_gen._check_statement(3): refuses a capture of statements where it would miss or disorder changes.
-- Parameters:
--      i_table         table
--      i_format        sql, urlenc or json
--      i_args          arguments of the trigger
-- Raises:   feature_not_supported, with the reason; insufficient_privilege if the owner of pgq may not use the
--           table's schema: the slow way names the type of its rows
-- Reads:    the definition of the table, its triggers, subscriptions of logical replication
-- Used by:  pgq.create_capture, pgq.refresh_captures
declare
    v_options   record;
    v_reason    text;
    v_schema    regnamespace;
    v_owner     regrole;
begin
    v_options := pgq._capture_options(
        i_format, true, case when 'SKIP' = any (i_args[2:]) then 'BEFORE' else 'AFTER' end, pgq_gen._argv(i_args));
    v_reason := case
        when v_options.skip then
            'SKIP needs a trigger for rows'
        when v_options.deny
             or exists (select from pgq._capture_overrides(v_options.expressions, '{}', null) o
                         where o.query is not null or o.place <> 3) then
            'deny, when= and ev_...= need a trigger for rows, unless it is ev_extra1= with a literal'
        when exists (select from pg_attribute a
                      where a.attrelid = i_table and a.attnum > 0 and not a.attisdropped
                        and starts_with(a.attname, '_pgq_')) then
            'columns named _pgq_... are special, and need a trigger for rows'
        when exists (select from pg_attribute a
                      where a.attrelid = i_table and a.attnum > 0 and not a.attisdropped
                        and a.attgenerated = 'v') then
            'transition tables do not hold the virtual columns that the table has'
        when (select c.relispartition from pg_class c where c.oid = i_table) then
            'the table is a partition: statements on its root would not be captured'
        when exists (select
                       from pg_inherits i
                       join pg_class c on c.oid = i.inhparent
                      where i.inhparent = i_table and c.relkind <> 'p') then
            'the table has inheritance children: their rows would be captured as its own'
        when exists (select from pg_inherits i where i.inhrelid = i_table) then
            'the table inherits from another: statements on that would not be captured'
        when exists (select
                       from pg_trigger t
                      where t.tgrelid = i_table
                        and not t.tgisinternal
                        -- FOR EACH ROW, neither BEFORE nor INSTEAD OF
                        and t.tgtype & 1 = 1 and t.tgtype & 66 = 0
                        and t.tgfoid not in (select p.oid from pg_proc p
                                              where p.pronamespace in ('pgq'::regnamespace, 'pgq_gen'::regnamespace))) then
            'the table has AFTER triggers for rows: what they change would be logged before its cause'
        when exists (select from pg_subscription_rel s where s.srrelid = i_table) then
            'the table is fed by logical replication, which does not call triggers for statements'
        when (select c.relkind not in ('r', 'p') from pg_class c where c.oid = i_table) then
            'only tables have triggers with transition tables'
        when exists (select
                       from pg_partition_tree(i_table) p
                       join pg_class c on c.oid = p.relid
                      where c.relkind = 'f') then
            'the table has foreign partitions, whose rows get into no transition table'
    end;
    if v_reason is not null then
        raise exception 'cannot capture statements on %: %', i_table::regclass, v_reason
            using errcode = 'feature_not_supported', hint = 'capture rows instead';
    end if;

    select c.relnamespace, n.nspowner
      into v_schema, v_owner
      from pg_class c, pg_namespace n
     where c.oid = i_table
       and n.nspname = 'pgq_gen';
    if not has_schema_privilege(v_owner, v_schema, 'usage') then
        raise exception 'cannot capture statements on %: the owner of PgQ may not use schema %', i_table::regclass, v_schema
            using errcode = 'insufficient_privilege',
                  hint = format('grant usage on schema %s to %s; or capture rows instead', v_schema, v_owner);
    end if;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
