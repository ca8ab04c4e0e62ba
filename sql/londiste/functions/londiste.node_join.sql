create or replace function londiste.node_join(
    i_queue_name text, i_node_name text, i_lineage uuid, i_provider_id text,
    i_generations integer[], i_node_names text[], i_last_ticks bigint[])
returns integer as $$
-- londiste.node_join(7): notes where this subscriber belongs, after the program has checked that it does.
-- Parameters:
--      i_queue_name      subscribed queue
--      i_node_name       name of this database among the nodes, if it has none yet
--      i_lineage         lineage of the provider
--      i_provider_id     server and database of the provider
--      i_generations, i_node_names, i_last_ticks     the provider's rows of londiste.node_generation
-- Returns:  generation of this node
-- Raises:   invalid_parameter_value if it is of another lineage
-- Changes:  londiste.node_info, londiste.node_generation
declare
    v_generation    integer;
begin
    insert into londiste.node_info (queue_name, lineage, node_name, provider_id)
    values (i_queue_name, i_lineage, i_node_name, i_provider_id)
        on conflict (queue_name) do nothing;
    insert into londiste.node_generation (queue_name, generation, node_name, last_tick)
    select i_queue_name, g.generation, g.node_name, g.last_tick
      from unnest(i_generations, i_node_names, i_last_ticks) g (generation, node_name, last_tick)
        on conflict do nothing;
    update londiste.node_info n
       set provider_id = i_provider_id,
           generation = greatest(n.generation, (select max(g) from unnest(i_generations) g))
     where n.queue_name = i_queue_name and n.lineage = i_lineage
 returning n.generation into v_generation;
    if not found then
        raise exception 'queue "%" is of another lineage here', i_queue_name
            using errcode = 'invalid_parameter_value';
    end if;
    return v_generation;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
