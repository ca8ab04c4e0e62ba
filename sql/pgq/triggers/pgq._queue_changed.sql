create or replace function pgq._queue_changed()
returns trigger as $$
-- pgq._queue_changed(0): tells captures where events of the queue go now.
-- Changes:  pgq_gen.current_table_N
-- Used by:  trigger of pgq.queue, for whatever changes the answer: rotation, and settings that captures have to look at
begin
    if TG_OP <> 'INSERT' then
        perform pgq_gen._write_current_table(OLD.queue_id);
    end if;
    if TG_OP <> 'DELETE' then
        perform pgq_gen._write_current_table(NEW.queue_id);
    end if;
    return null;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
