create or replace function pgq._queue_tables_changed()
returns trigger as $$
-- pgq._queue_tables_changed(0): has the insertion of events written anew for the queues that there are.
-- Changes:  pgq_gen.insert_event
-- Used by:  trigger of pgq.queue, for what adds or removes queues, or changes the names of their tables; not for
--           rotation
begin
    perform pgq_gen._write_insert_event();
    return null;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
