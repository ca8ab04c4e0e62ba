create or replace function pgq.drop_queue(x_queue_name text, x_force boolean)
returns integer as $$
-- pgq.drop_queue(2): drops a queue and its events.
-- Parameters:
--      x_queue_name      an existing queue
--      x_force           true: detach its consumers first, with their retry and failed events
-- Returns:  1
-- Raises:   "No such event queue"; "cannot drop queue, consumers still attached"
-- Changes:  pgq.queue, pgq.tick; with force pgq.subscription and what hangs on it; drops the tables
-- Locks:    advisory lock of the ticker (pgqT, queue_id), the row of pgq.queue, the dropped tables
-- Used by:  pgqadm drop, clients
declare
    v_queue     record;
    v_consumer  text;
begin
    -- Before any other lock: a ticker holds this one while it reads the sequences and refers to the
    -- queue's row, in an order that would deadlock with the drops below.
    perform pg_advisory_xact_lock(1885827412, queue_id) from pgq.queue where queue_name = x_queue_name;
    select * into v_queue from pgq.queue where queue_name = x_queue_name for update;
    if not found then
        raise exception 'No such event queue';
    end if;

    if x_force then
        -- Main consumers take their subconsumers along; what is gone already is no error.
        for v_consumer in
            select i.consumer_name from pgq.get_consumer_info(x_queue_name) i
        loop
            perform pgq.unregister_consumer(x_queue_name, v_consumer);
        end loop;
    elsif exists (select from pgq.subscription where sub_queue = v_queue.queue_id) then
        raise exception 'cannot drop queue, consumers still attached';
    end if;

    for i in 0 .. v_queue.queue_ntables - 1 loop
        execute 'drop table ' || pgq.quote_fqname(v_queue.queue_data_pfx || '_' || i);
    end loop;
    execute 'drop table ' || pgq.quote_fqname(v_queue.queue_data_pfx);
    delete from pgq.tick where tick_queue = v_queue.queue_id;
    execute 'drop sequence ' || pgq.quote_fqname(v_queue.queue_event_seq);
    execute 'drop sequence ' || pgq.quote_fqname(v_queue.queue_tick_seq);
    delete from pgq.queue where queue_id = v_queue.queue_id;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.drop_queue(x_queue_name text)
returns integer as $$
-- pgq.drop_queue(1): drops a queue that nobody reads.
-- Parameters:
--      x_queue_name      an existing queue
-- Returns:  1, or null for null
-- Raises:   as pgq.drop_queue(2)
-- Used by:  pgqadm drop, clients
begin
    return pgq.drop_queue(x_queue_name, false);
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
