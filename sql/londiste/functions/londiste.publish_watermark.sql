create or replace function londiste.publish_watermark(i_queue_name text, i_period interval)
returns bigint as $$
-- londiste.publish_watermark(2): tells the relays up to where every node has applied the queue, if it is time
--           for that and there are relays.
-- Parameters:
--      i_queue_name    queue; on a node that is not the root nothing happens
--      i_period        time between two such events
-- Returns:  the tick published; null if none
-- Reads:    pgq.subscription
-- Changes:  an event of type pgq.global-watermark: data tick, extra1 queue
-- Locks:    the row of londiste.node_info
-- Used by:  replay of a relay, on its provider
declare
    v_tick      bigint;
begin
    perform 1
       from londiste.node_info n
       join pgq.queue q using (queue_name)
      where n.queue_name = i_queue_name
        and not q.queue_external_ticker and not q.queue_disable_insert
        and (n.watermark_time is null or n.watermark_time <= now() - i_period)
        for update of n skip locked;
    if not found then
        return null;
    end if;
    -- Nobody but a relay understands the event.
    select min(s.sub_last_tick) into v_tick
      from pgq.subscription s
      join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = i_queue_name
       and exists (select 1
                     from pgq.subscription o
                     join pgq.consumer c on c.co_id = o.sub_consumer
                    where o.sub_queue = q.queue_id and right(c.co_name, 3) = '.wm');
    if v_tick is null then
        return null;
    end if;
    update londiste.node_info set watermark_time = now() where queue_name = i_queue_name;
    perform pgq.insert_event(i_queue_name, 'pgq.global-watermark', v_tick::text, i_queue_name, null, null, null);
    return v_tick;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
