create or replace function londiste.subscriber_add_seq(i_queue_name text, i_seq_name text)
returns integer as $$
-- londiste.subscriber_add_seq(2): subscribes to a sequence.
-- Parameters:
--      i_queue_name    queue it is registered for on the provider
--      i_seq_name      schema.sequence, raw; not looked up
-- Returns:  0
-- Raises:   unique_violation if it is subscribed
-- Changes:  londiste.subscriber_seq; on a linked queue londiste.provider_seq, and what londiste.link_changed
--           changes
declare
    v_dest      text := londiste.link_dest(i_queue_name);
begin
    insert into londiste.subscriber_seq (queue_name, seq_name)
    values (i_queue_name, i_seq_name);
    if v_dest is not null then
        insert into londiste.provider_seq (queue_name, seq_name)
        values (v_dest, i_seq_name)
        on conflict do nothing;
        perform londiste.link_changed(v_dest);
    end if;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
