create or replace function londiste.node_create(i_queue_name text, i_node_name text)
returns uuid as $$
-- londiste.node_create(2): makes this database the root of a queue's lineage, unless it has a place in one.
-- Parameters:
--      i_queue_name    a queue of this database
--      i_node_name     name of this database among the nodes
-- Returns:  the lineage; null if this database does not make the queue's ticks
-- Changes:  londiste.node_info
begin
    insert into londiste.node_info (queue_name, lineage, node_name)
    select q.queue_name, gen_random_uuid(), i_node_name
      from pgq.queue q
     where q.queue_name = i_queue_name and not q.queue_external_ticker
        on conflict do nothing;
    return (select n.lineage from londiste.node_info n where n.queue_name = i_queue_name);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
