create or replace function pgq_gen._write_current_table(i_queue_id integer)
returns void as $$
-- pgq_gen._write_current_table(1): generates pgq_gen.current_table_N, by which captures of rows know the current table
-- of queue N.
-- Parameters:
--      i_queue_id      queue; one that is gone keeps a function that knows no table, for captures that call it
-- Changes:  the function, if it is not up to date; its rights, if it is new
-- Used by:  pgq._queue_changed, pgq_gen._write, pgq.refresh_captures
declare
    v_name      text := 'current_table_' || i_queue_id;
    v_code      text := pgq_gen._current_table_code(i_queue_id);
    v_found     text;
begin
    select p.prosrc into v_found
      from pg_proc p
     where p.pronamespace = 'pgq_gen'::regnamespace
       and p.proname = v_name;
    if v_code is distinct from v_found then
        -- The planner puts the number in the place of the call, and remembers that the plan depends on the function:
        -- a capture pays nothing for the question until the answer changes.
        execute format('create or replace function pgq_gen.%I(i_queue_name text) returns integer as %L'
                       ' language sql stable parallel safe', v_name, v_code);
    end if;
    if v_found is null then
        execute format('revoke all on function pgq_gen.%I from public', v_name);
    end if;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
