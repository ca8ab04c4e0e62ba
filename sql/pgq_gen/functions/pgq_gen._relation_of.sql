create or replace function pgq_gen._relation_of(i_capture pgq.capture)
returns oid as $$
-- pgq_gen._relation_of(1): table whose trigger belongs to a capture.
-- Parameters:
--      i_capture      row of pgq.capture
-- Returns:  for generated triggers the table whose trigger calls the function, whatever its oid: a dump
--           restored elsewhere has other oids; for generic ones the table, if its trigger still has the
--           same format and arguments; else null
-- Reads:    triggers
-- Used by:  pgq.create_capture, pgq.refresh_captures, pgq.get_problems
    select coalesce(
        -- Where it was: there are indexes for this.
        (select t.tgrelid
           from pg_trigger t
           join pg_proc p on p.oid = t.tgfoid
          where t.tgrelid = i_capture.cap_relid
            and case when i_capture.cap_level = 'generic'
                     then p.pronamespace = 'pgq'::regnamespace
                          and t.tgname = i_capture.cap_trigger
                          and pgq_gen._format_of(p.proname) = i_capture.cap_format
                          and pgq_gen._trigger_args(t.tgargs, t.tgnargs) = i_capture.cap_args
                     else p.pronamespace = 'pgq_gen'::regnamespace
                          and p.proname = i_capture.cap_function
                          and t.tgparentid = 0
                end
          limit 1),
        (select t.tgrelid
           from pg_trigger t
          where i_capture.cap_level <> 'generic'
            and t.tgfoid = any (array(select p.oid
                                        from pg_proc p
                                       where p.pronamespace = 'pgq_gen'::regnamespace
                                         and p.proname = i_capture.cap_function))
            and t.tgparentid = 0
          order by t.oid
          limit 1));
$$ language sql stable set search_path = pg_catalog, pg_temp;
