create or replace function londiste.subscriber_remove_seq(i_queue_name text, i_seq_name text)
returns integer as $$
-- londiste.subscriber_remove_seq(2): ends the subscription of a sequence.
-- Parameters:
--      i_queue_name    queue it was subscribed from
--      i_seq_name      a subscribed sequence
-- Returns:  0
-- Raises:   undefined_object "no such seq?"
-- Changes:  londiste.subscriber_seq; on a linked queue londiste.provider_seq, and what londiste.link_changed
--           changes
declare
    v_dest      text := londiste.link_dest(i_queue_name);
begin
    delete from londiste.subscriber_seq
     where queue_name = i_queue_name and seq_name = i_seq_name;
    if not found then
        raise exception 'no such seq? %', i_seq_name
            using errcode = 'undefined_object';
    end if;
    if v_dest is not null then
        delete from londiste.provider_seq
         where queue_name = v_dest and seq_name = i_seq_name;
        perform londiste.link_changed(v_dest);
    end if;
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
