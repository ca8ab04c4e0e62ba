create or replace function pgq_coop.finish_batch(i_batch_id bigint)
returns integer as $$
-- pgq_coop.finish_batch(1): closes a member's batch.
-- Parameters:
--      i_batch_id      an open batch
-- Returns:  1, or 0 with a warning if no such batch is open, or if another member has taken it over
-- Changes:  pgq.subscription. The batch of a consumer that is in no group is closed as
--           pgq.finish_batch does: it would lose its position otherwise
-- Used by:  cooperative consumers
begin
    if not exists (select from pgq.subscription where sub_batch = i_batch_id) then
        raise warning 'coop_finish_batch: batch % not found', i_batch_id;
        return 0;
    end if;
    return pgq.finish_batch(i_batch_id);
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp set enable_seqscan = off;
