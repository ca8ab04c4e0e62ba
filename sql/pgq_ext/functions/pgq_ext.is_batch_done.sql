create or replace function pgq_ext.is_batch_done(
    a_consumer text, a_subconsumer text, a_batch_id bigint, a_batch_end timestamptz)
returns boolean as $$
-- pgq_ext.is_batch_done(4): whether a batch is the last one that the consumer applied, and not another one to which a
-- source that was restored to an older state has given its number.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id                     batch
--      a_batch_end                    time of the tick that ends it; null: unknown
-- Returns:  false for an unknown consumer; an end that either side does not know decides nothing
-- Reads:    pgq_ext.completed_batch
-- Used by:  consumers
begin
    return exists (select
                     from pgq_ext.completed_batch
                    where consumer_id = a_consumer
                      and subconsumer_id = a_subconsumer
                      and last_batch_id = a_batch_id
                      and (last_batch_end <> a_batch_end) is not true);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.is_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint)
returns boolean as $$
-- pgq_ext.is_batch_done(3): whether a batch is the last one that the consumer applied.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id                     batch
-- Returns:  false for an unknown consumer
-- Reads:    pgq_ext.completed_batch
-- Used by:  consumers
begin
    return pgq_ext.is_batch_done(a_consumer, a_subconsumer, a_batch_id, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.is_batch_done(a_consumer text, a_batch_id bigint)
returns boolean as $$
-- pgq_ext.is_batch_done(2): whether a batch is the last one that the consumer applied.
-- Parameters:
--      a_consumer      who
--      a_batch_id      batch
-- Returns:  false for an unknown consumer
-- Used by:  consumers
    select pgq_ext.is_batch_done($1, '', $2);
$$ language sql;
