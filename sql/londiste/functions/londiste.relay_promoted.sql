create or replace function londiste.relay_promoted(i_queue_name text)
returns bigint as $$
-- londiste.relay_promoted(1): the second half of making a relay the root: the first tick of its own, which
--           no ticker has to run for, and the end of the subscription.
-- Parameters:
--      i_queue_name    a relay's queue, after londiste.relay_promote
-- Returns:  the tick
-- Changes:  pgq.queue, pgq.tick, londiste.link, londiste.subscriber_table, londiste.subscriber_seq
declare
    v_tick      bigint;
begin
    select nextval(londiste.quote_fqname(q.queue_tick_seq)::regclass) into v_tick
      from pgq.queue q
     where q.queue_name = i_queue_name;
    perform londiste.mirror_tick(i_queue_name, v_tick, null, null);
    update pgq.queue
       set queue_external_ticker = false
     where queue_name = i_queue_name;
    delete from londiste.link where source = i_queue_name;
    delete from londiste.subscriber_table where queue_name = i_queue_name;
    delete from londiste.subscriber_seq where queue_name = i_queue_name;
    return v_tick;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
