create or replace function pgq_ext.set_batch_done(
    a_consumer text, a_subconsumer text, a_batch_id bigint, a_batch_end timestamptz)
returns boolean as $$
-- pgq_ext.set_batch_done(4): remembers a batch as applied, and when it ends: a source that was restored to an older
-- state gives out the same numbers again. Belongs into the transaction that applies it.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id                     batch; an id below 1 is not stored
--      a_batch_end                    time of the tick that ends it; null: unknown
-- Returns:  false if it was the last one applied already
-- Changes:  pgq_ext.completed_batch, which keeps the latest batch only
-- Used by:  consumers
begin
    if pgq_ext.is_batch_done(a_consumer, a_subconsumer, a_batch_id, a_batch_end) then
        return false;
    end if;
    if a_batch_id > 0 then
        insert into pgq_ext.completed_batch as c (consumer_id, subconsumer_id, last_batch_id, last_batch_end)
        values (a_consumer, a_subconsumer, a_batch_id, a_batch_end)
            on conflict (consumer_id, subconsumer_id)
            do update set last_batch_id = excluded.last_batch_id, last_batch_end = excluded.last_batch_end
                where c.last_batch_id <> excluded.last_batch_id
                   or c.last_batch_end <> excluded.last_batch_end;
        -- Another session has just stored the same one.
        return found;
    end if;
    return true;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.set_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint)
returns boolean as $$
-- pgq_ext.set_batch_done(3): remembers a batch as applied. Belongs into the transaction that applies it.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id                     batch; an id below 1 is not stored
-- Returns:  false if it was the last one applied already
-- Changes:  pgq_ext.completed_batch, which keeps the latest batch only
-- Used by:  consumers
begin
    return pgq_ext.set_batch_done(a_consumer, a_subconsumer, a_batch_id, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.set_batch_done(a_consumer text, a_batch_id bigint)
returns boolean as $$
-- pgq_ext.set_batch_done(2): remembers a batch as applied.
-- Parameters:
--      a_consumer      who
--      a_batch_id      batch
-- Returns:  false if it was the last one applied already
-- Changes:  pgq_ext.completed_batch
-- Used by:  consumers
    select pgq_ext.set_batch_done($1, '', $2);
$$ language sql;
