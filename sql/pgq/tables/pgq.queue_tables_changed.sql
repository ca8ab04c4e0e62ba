do $$
begin
    if not exists (select from pg_trigger
                    where tgrelid = 'pgq.queue'::regclass and tgname = 'queue_tables_changed') then
        create trigger queue_tables_changed
            after insert or delete or update of queue_id, queue_data_pfx, queue_event_seq, queue_ntables on pgq.queue
            for each statement execute function pgq._queue_tables_changed();
    end if;
end
$$;
