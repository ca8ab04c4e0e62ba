create or replace function pgq.register_consumer_at(x_queue_name text, x_consumer_name text, x_tick_pos bigint)
returns integer as $$
-- pgq.register_consumer_at(3): registers a consumer at a tick, or moves it there.
-- Parameters:
--      x_queue_name         an existing queue
--      x_consumer_name      any text
--      x_tick_pos           tick after which it reads on; null: the newest, or where it is
-- Returns:  1 if registered now, 0 if it was
-- Raises:   "Event queue not created yet"; "cannot reposition, tick not found: ...";
--           "No ticks for this queue.  Please run ticker on database."; "consumer ... is a member of a
--           cooperative group", which has no position to move
-- Changes:  pgq.consumer, pgq.subscription; moving abandons an open batch
-- Locks:    the consumer's rows; the queue against rotation, which deletes ticks nobody stands at
-- Used by:  pgq.register_consumer, consumers that lost their position
declare
    v_queue     integer;
    v_consumer  integer;
    v_tick      bigint;
begin
    select queue_id into v_queue from pgq.queue where queue_name = x_queue_name for key share;
    if not found then
        raise exception 'Event queue not created yet';
    end if;

    select co_id into v_consumer from pgq.consumer where co_name = x_consumer_name for update;
    if not found then
        insert into pgq.consumer (co_name) values (x_consumer_name)
            on conflict (co_name) do update set co_name = excluded.co_name
     returning co_id into v_consumer;
    end if;

    if x_tick_pos is not null
       and not exists (select from pgq.tick where tick_queue = v_queue and tick_id = x_tick_pos) then
        raise exception 'cannot reposition, tick not found: %', x_tick_pos;
    end if;

    perform from pgq.subscription where sub_queue = v_queue and sub_consumer = v_consumer for update;
    if found then
        if x_tick_pos is not null then
            if pgq._is_subconsumer(v_queue, v_consumer) then
                raise exception 'consumer "%" is a member of a cooperative group', x_consumer_name
                    using hint = 'The position is that of the main consumer, the name before the dot.';
            end if;
            update pgq.subscription
               set sub_last_tick = x_tick_pos,
                   sub_batch = null,
                   sub_next_tick = null,
                   sub_active = now(),
                   sub_version = sub_version + 1
             where sub_queue = v_queue
               and sub_consumer = v_consumer;
        end if;
        return 0;
    end if;

    v_tick := coalesce(x_tick_pos,
                       (select tick_id
                          from pgq.tick
                         where tick_queue = v_queue
                         order by tick_queue desc, tick_id desc
                         limit 1));
    if v_tick is null then
        raise exception 'No ticks for this queue.  Please run ticker on database.';
    end if;
    insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick)
    values (v_queue, v_consumer, v_tick);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
