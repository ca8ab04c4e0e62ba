create or replace function londiste.node_forget(i_queue_name text)
returns integer as $$
-- londiste.node_forget(1): takes this database out of a queue's cascade, unless it has the queue itself.
-- Parameters:
--      i_queue_name    subscribed queue
-- Returns:  1 if it was in one and is no more
-- Changes:  londiste.node_info, londiste.node_generation
begin
    if to_regclass('pgq.queue') is not null then
        perform 1 from pgq.queue where queue_name = i_queue_name;
        if found then
            return 0;
        end if;
    end if;
    delete from londiste.node_generation where queue_name = i_queue_name;
    delete from londiste.node_info where queue_name = i_queue_name;
    return case when found then 1 else 0 end;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
