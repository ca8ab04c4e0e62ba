create or replace function londiste.stale_trigger(i_table londiste.provider_table, i_oid oid, i_col_types text)
returns text as $$
-- londiste.stale_trigger(3): whether the trigger of a registered table was made for another state of it.
-- Parameters:
--      i_table         row of londiste.provider_table
--      i_oid           the table
--      i_col_types     as londiste.find_column_types gives them for its present state
-- Returns:  what is wrong; null if nothing is, or if there is no trigger
-- Reads:    pgq.capture, triggers
-- Used by:  londiste.provider_check
declare
    v_trigger   record;
    v_args      text[];
    v_letters   text;
begin
    select t.tgname, t.tgfoid, p.proname, n.nspname,
           (select array_agg(a.arg order by a.place)
              from unnest(string_to_array(encode(t.tgargs, 'escape'), E'\\000'))
                   with ordinality a (arg, place)
             where a.place <= t.tgnargs) as args
      into v_trigger
      from pg_trigger t
      join pg_proc p on p.oid = t.tgfoid
      join pg_namespace n on n.oid = p.pronamespace
     where t.tgrelid = i_oid and not t.tgisinternal
       and t.tgname in (select w.name from londiste.wanted_triggers(i_table) w)
       and t.tgname <> londiste.truncate_trigger_name(i_table.trigger_name)
     order by t.tgname
     limit 1;
    if not found then
        return null;
    elsif v_trigger.nspname not in ('pgq', 'pgq_gen') then
        return format('trigger %s calls %s.%s', v_trigger.tgname, v_trigger.nspname, v_trigger.proname);
    elsif v_trigger.proname = 'logtriga' then
        v_letters := v_trigger.args[2];
        -- Older versions knew no letter for generated columns.
        if v_letters is distinct from i_col_types then
            return format('trigger %s was made for columns %s, the table has %s',
                          v_trigger.tgname, v_letters, i_col_types);
        end if;
        return null;
    elsif to_regclass('pgq.capture') is null then
        return null;
    end if;

    v_args := londiste.trigger_args(i_table.queue_name, i_table.table_name, i_col_types);
    if not exists (select from pgq.capture c
                    where c.cap_relid = i_oid
                      and c.cap_trigger = i_table.trigger_name::name
                      and c.cap_level = i_table.capture_level
                      and c.cap_args = v_args) then
        return format('trigger %s was made for other columns, another key or another table', v_trigger.tgname);
    elsif not exists (select from pgq.capture c
                       where c.cap_relid = i_oid
                         and c.cap_trigger = i_table.trigger_name::name
                         and c.cap_shape = pgq_gen._state(c.cap_relid, c.cap_queue)) then
        return format('trigger %s captures in the slow way: the table or PgQ has changed', v_trigger.tgname);
    end if;
    return null;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
