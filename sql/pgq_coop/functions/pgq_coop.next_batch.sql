create or replace function pgq_coop.next_batch(
    i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_dead_interval interval)
returns bigint as $$
-- pgq_coop.next_batch(4): opens the group's next batch for one of its members, or takes over one from a
-- member that seems dead.
-- Parameters:
--      i_queue_name, i_consumer_name, i_subconsumer_name, i_dead_interval      as for
--                                                            pgq_coop.next_batch_custom(7)
-- Returns:  as pgq_coop.next_batch_custom(7)
-- Raises:   as pgq_coop.next_batch_custom(7)
-- Changes:  pgq.subscription, pgq.consumer
-- Used by:  cooperative consumers
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name,
                                      null, null, null, i_dead_interval);
end;
$$ language plpgsql set search_path = pg_catalog, pgq_coop, pg_temp;

create or replace function pgq_coop.next_batch(i_queue_name text, i_consumer_name text, i_subconsumer_name text)
returns bigint as $$
-- pgq_coop.next_batch(3): opens the group's next batch for one of its members.
-- Parameters:
--      i_queue_name, i_consumer_name, i_subconsumer_name      as for pgq_coop.next_batch_custom(7)
-- Returns:  as pgq_coop.next_batch_custom(7), which takes nothing over from others
-- Raises:   as pgq_coop.next_batch_custom(7)
-- Changes:  pgq.subscription, pgq.consumer
-- Used by:  cooperative consumers
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name,
                                      null, null, null, null);
end;
$$ language plpgsql set search_path = pg_catalog, pgq_coop, pg_temp;
