create or replace function pgq_ext.set_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id bigint)
returns boolean as $$
-- pgq_ext.set_event_done(4): remembers an event as applied. Belongs into the transaction that applies
-- it. For consumers without retries: a retried event comes back in another batch.
-- Parameters:
--      a_consumer, a_subconsumer      who; subconsumer '' for none
--      a_batch_id, a_event_id         event
-- Returns:  false if it was applied already
-- Changes:  pgq_ext.completed_event; with a new batch pgq_ext.partial_batch, and the events of the
--           batch before are forgotten
-- Used by:  consumers
declare
    v_batch bigint;
begin
    if pgq_ext.is_event_done(a_consumer, a_subconsumer, a_batch_id, a_event_id) then
        return false;
    end if;

    select cur_batch_id into v_batch
      from pgq_ext.partial_batch
     where consumer_id = a_consumer
       and subconsumer_id = a_subconsumer;
    if v_batch is distinct from a_batch_id then
        delete from pgq_ext.completed_event
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer
           and batch_id = v_batch;
        insert into pgq_ext.partial_batch (consumer_id, subconsumer_id, cur_batch_id)
        values (a_consumer, a_subconsumer, a_batch_id)
            on conflict (consumer_id, subconsumer_id)
            do update set cur_batch_id = excluded.cur_batch_id;
    end if;

    insert into pgq_ext.completed_event (consumer_id, subconsumer_id, batch_id, event_id)
    values (a_consumer, a_subconsumer, a_batch_id, a_event_id)
        on conflict (consumer_id, subconsumer_id, batch_id, event_id) do nothing;
    return found;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq_ext, pg_temp;

create or replace function pgq_ext.set_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint)
returns boolean as $$
-- pgq_ext.set_event_done(3): remembers an event as applied.
-- Parameters:
--      a_consumer                  who
--      a_batch_id, a_event_id      event
-- Returns:  false if it was applied already
-- Changes:  pgq_ext.completed_event, pgq_ext.partial_batch
-- Used by:  consumers
    select pgq_ext.set_event_done($1, '', $2, $3);
$$ language sql;
