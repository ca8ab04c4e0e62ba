create or replace function londiste.provider_get_seq_list(i_queue_name text)
returns setof text as $$
-- londiste.provider_get_seq_list(1): sequences registered for a queue.
-- Parameters:
--      i_queue_name    queue name
-- Returns:  their names, in order of registration
select seq_name
  from londiste.provider_seq
 where queue_name = i_queue_name
 order by nr;
$$ language sql stable security definer set search_path = pg_catalog, pg_temp;
