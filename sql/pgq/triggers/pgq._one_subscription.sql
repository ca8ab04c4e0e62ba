create or replace function pgq._one_subscription()
returns trigger as $$
-- pgq._one_subscription(0): sees to it that a consumer has one row per queue, which the primary key
-- of pgq.subscription does not say.
-- Raises:   unique_violation; a transaction whose snapshot is too old to see the other row gets
--           serialization_failure
-- Reads:    pgq.subscription
-- Locks:    the row of pgq.consumer, by an update that changes nothing: who adds a row for the same
--           consumer waits, and notices in every isolation level
-- Used by:  trigger of pgq.subscription, for what adds rows or moves them; not for hot updates
begin
    update pgq.consumer set co_name = co_name where co_id = new.sub_consumer;
    if (select count(*)
          from pgq.subscription
         where sub_queue = new.sub_queue
           and sub_consumer = new.sub_consumer) > 1 then
        raise exception 'consumer % is registered on queue % already', new.sub_consumer, new.sub_queue
            using errcode = 'unique_violation', schema = 'pgq', table = 'subscription',
                  constraint = 'subscription_once';
    end if;
    return null;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
