create or replace function pgq_gen._write_current_tables()
returns void as $$
-- pgq_gen._write_current_tables(0): makes up for what the trigger of pgq.queue did not see: queues of an older version,
-- and changes while it was disabled. Drops the functions of queues that are gone, unless captures still call them.
-- Reads:    pgq.queue
-- Changes:  functions pgq_gen.current_table_N
-- Locks:    the rows of pgq.queue whose function is not up to date
-- Used by:  pgq.refresh_captures
declare
    v_queue     record;
    v_function  regprocedure;
begin
    for v_queue in
        select q.queue_id
          from pgq.queue q
          left join pg_proc p
            on p.pronamespace = 'pgq_gen'::regnamespace
           and p.proname = 'current_table_' || q.queue_id
         where p.prosrc is distinct from pgq_gen._current_table_code(q.queue_id)
         order by q.queue_id
    loop
        -- After a rotation that is under way.
        perform from pgq.queue q where q.queue_id = v_queue.queue_id for share;
        perform pgq_gen._write_current_table(v_queue.queue_id);
    end loop;
    for v_function in
        select p.oid
          from pg_proc p
         where p.pronamespace = 'pgq_gen'::regnamespace
           and p.proname ~ '^current_table_[0-9]+$'
           and not exists (select from pgq.queue q where p.proname = 'current_table_' || q.queue_id)
           and not exists (select
                             from pg_proc c
                            where c.pronamespace = 'pgq_gen'::regnamespace
                              and strpos(c.prosrc, format('pgq_gen.%I(', p.proname)) > 0)
    loop
        execute format('drop function %s', v_function);
    end loop;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
