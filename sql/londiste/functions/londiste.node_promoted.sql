create or replace function londiste.node_promoted(
    i_queue_name text, i_node_name text, i_generation integer, i_last_tick bigint)
returns integer as $$
-- londiste.node_promoted(4): notes that a node became the root, as its event says.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     the new root
--      i_generation    generation that begins with it
--      i_last_tick     newest tick of the generation before that it has
-- Returns:  generation of this node; null if it has no place in a cascade
-- Changes:  londiste.node_info, londiste.node_generation
declare
    v_generation    integer;
begin
    update londiste.node_info n
       set generation = greatest(n.generation, i_generation)
     where n.queue_name = i_queue_name
 returning n.generation into v_generation;
    if found then
        insert into londiste.node_generation (queue_name, generation, node_name, last_tick)
        values (i_queue_name, i_generation, i_node_name, i_last_tick)
            on conflict do nothing;
    end if;
    return v_generation;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
