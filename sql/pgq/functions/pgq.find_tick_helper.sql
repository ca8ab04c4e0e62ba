create or replace function pgq.find_tick_helper(
    i_queue_id integer, i_prev_tick_id bigint, i_prev_tick_time timestamptz, i_prev_tick_seq bigint,
    i_min_count bigint, i_min_interval interval,
    out next_tick_id bigint, out next_tick_time timestamptz, out next_tick_seq bigint)
as $$
-- pgq.find_tick_helper(6): picks the tick that ends a batch of a wanted size.
-- Parameters:
--      i_queue_id                                        queue
--      i_prev_tick_id, i_prev_tick_time, i_prev_tick_seq      tick that the batch starts after
--      i_min_count, i_min_interval                       wanted events and time span; null: any
-- Returns:  the newest tick once a wish is met by it; if it goes beyond twice a wish, the first tick
--           that meets one; nulls if none does
-- Reads:    pgq.tick
-- Used by:  pgq.next_batch_custom
declare
    v_reached   boolean := false;
    v_far       boolean := false;
begin
    select t.tick_id, t.tick_time, t.tick_event_seq
      into next_tick_id, next_tick_time, next_tick_seq
      from pgq.tick t
     where t.tick_queue = i_queue_id
       and t.tick_id > i_prev_tick_id
     order by t.tick_queue desc, t.tick_id desc
     limit 1;
    if not found then
        return;
    end if;

    -- A tick of an upgraded database may not know its count: that counts as enough.
    if i_min_count is not null then
        v_reached := coalesce(next_tick_seq - i_prev_tick_seq >= i_min_count, true);
        v_far := coalesce(next_tick_seq - i_prev_tick_seq > 2 * i_min_count, false);
    end if;
    if i_min_interval is not null then
        v_reached := v_reached or next_tick_time - i_prev_tick_time >= i_min_interval;
        v_far := v_far or next_tick_time - i_prev_tick_time > 2 * i_min_interval;
    end if;

    if v_far then
        select t.tick_id, t.tick_time, t.tick_event_seq
          into next_tick_id, next_tick_time, next_tick_seq
          from pgq.tick t
         where t.tick_queue = i_queue_id
           and t.tick_id > i_prev_tick_id
           and (i_min_count is not null
                    and coalesce(t.tick_event_seq - i_prev_tick_seq >= i_min_count, true)
                or t.tick_time - i_prev_tick_time >= i_min_interval)
         order by t.tick_queue, t.tick_id
         limit 1;
    elsif not v_reached then
        next_tick_id := null;
        next_tick_time := null;
        next_tick_seq := null;
    end if;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
