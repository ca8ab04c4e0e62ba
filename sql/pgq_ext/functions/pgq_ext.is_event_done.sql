create or replace function pgq_ext.is_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id bigint)
returns boolean as $$
-- pgq_ext.is_event_done(4): whether an event of a batch was applied.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id, a_event_id         event
-- Returns:  false for an unknown consumer
-- Reads:    pgq_ext.completed_event
-- Used by:  consumers, also in conditions of queries over events
begin
    return exists (select
                     from pgq_ext.completed_event
                    where consumer_id = a_consumer
                      and subconsumer_id = a_subconsumer
                      and batch_id = a_batch_id
                      and event_id = a_event_id);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.is_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint)
returns boolean as $$
-- pgq_ext.is_event_done(3): whether an event of a batch was applied.
-- Parameters:
--      a_consumer                  who
--      a_batch_id, a_event_id      event
-- Returns:  false for an unknown consumer
-- Used by:  consumers, also in conditions of queries over events
    select pgq_ext.is_event_done($1, '', $2, $3);
$$ language sql;
