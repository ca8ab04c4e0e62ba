create or replace function londiste.provider_remove_seq(i_queue_name text, i_seq_name text)
returns integer as $$
-- londiste.provider_remove_seq(2): forgets a sequence and tells the subscribers.
-- Parameters:
--      i_queue_name    queue it is registered for
--      i_seq_name      a registered sequence; it need not exist any more
-- Returns:  0
-- Raises:   "Linked queue, cannot modify"; undefined_object "seq not attached"
-- Changes:  londiste.provider_seq; an event of type T
begin
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, cannot modify'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    delete from londiste.provider_seq
     where queue_name = i_queue_name and seq_name = i_seq_name;
    if not found then
        raise exception 'seq not attached: %', i_seq_name
            using errcode = 'undefined_object';
    end if;
    perform londiste.provider_notify_change(i_queue_name);
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
