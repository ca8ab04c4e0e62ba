create or replace function pgq_gen.dispatch_dynamically(
    i_format text, i_table oid, i_trigger name, i_op text, i_args text[], i_row anyelement, i_old anyelement)
returns boolean as $$
-- pgq_gen.dispatch_dynamically(7): calls the function that was generated for a generic trigger, where
-- pgq_gen.dispatch does not know it.
-- Parameters:
--      i_format                              as for pgq._capture
--      i_table, i_trigger, i_op, i_args      tg_relid, tg_name, tg_op, tg_argv
--      i_row, i_old                          as for pgq._capture
-- Returns:  whether the trigger has to suppress the change; null if there is no such function, or it is stale
-- Raises:   insufficient_privilege if the writer may not insert events
-- Reads:    pgq.capture
-- Changes:  the queue
-- Used by:  pgq_gen.dispatch
declare
    v_function  pg_catalog.text;
    v_skip      boolean;
begin
    select c.cap_function into v_function
      from pgq.capture c
     where c.cap_relid operator(pg_catalog.=) i_table
       and c.cap_trigger operator(pg_catalog.=) i_trigger
       and c.cap_format operator(pg_catalog.=) i_format
       and c.cap_level operator(pg_catalog.=) 'generic';
    if v_function is not null then
        execute pg_catalog.concat('select pgq_gen.', v_function, '($1, $2, $3, $4)')
           into v_skip using i_op, i_args, i_row, i_old;
    end if;
    return v_skip;
end;
-- No pinned search_path: values are the writer's, so every name here is qualified.
$$ language plpgsql;
