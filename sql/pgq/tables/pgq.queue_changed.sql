do $$
begin
    if not exists (select from pg_trigger
                    where tgrelid = 'pgq.queue'::regclass and tgname = 'queue_changed') then
        create trigger queue_changed
            after insert or delete
               or update of queue_id, queue_name, queue_cur_table, queue_disable_insert, queue_per_tx_limit
            on pgq.queue
            for each row execute function pgq._queue_changed();
        -- A replica rotates, too.
        alter table pgq.queue enable always trigger queue_changed;
    end if;
end
$$;
