create or replace function pgq.register_consumer(x_queue_name text, x_consumer_id text)
returns integer as $$
-- pgq.register_consumer(2): registers a consumer at the newest tick.
-- Parameters:
--      x_queue_name       an existing queue
--      x_consumer_id      its name, any text
-- Returns:  1 if registered now, 0 if it was
-- Raises:   as pgq.register_consumer_at
-- Changes:  pgq.consumer, pgq.subscription
-- Used by:  pgqadm register, consumers
begin
    return pgq.register_consumer_at(x_queue_name, x_consumer_id, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;

create or replace function pgq.register_consumer(x_queue_name text, x_consumer_name text, x_tick_pos bigint)
returns integer as $$
-- pgq.register_consumer(3): older name of pgq.register_consumer_at.
-- Parameters:
--      x_queue_name         an existing queue
--      x_consumer_name      its name, any text
--      x_tick_pos           tick after which it reads on, or null
-- Returns:  1 if registered now, 0 if it was
-- Raises:   as pgq.register_consumer_at
-- Changes:  pgq.consumer, pgq.subscription
-- Used by:  old clients
begin
    return pgq.register_consumer_at(x_queue_name, x_consumer_name, x_tick_pos);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
