create or replace function pgq._is_subconsumer(i_queue_id integer, i_consumer_id integer)
returns boolean as $$
-- pgq._is_subconsumer(2): whether a subscription is a member of a cooperative group.
-- Parameters:
--      i_queue_id, i_consumer_id      a row of pgq.subscription
-- Returns:  true if another row with its sub_id has a name that this one's extends by a dot
-- Reads:    pgq.consumer, pgq.subscription; the latter only if the name has a dot, and by its key, so
--           that dead versions of its rows are not met
-- Used by:  pgq.finish_batch, pgq.unregister_consumer, pgq.register_consumer_at
declare
    v_name          text;
    v_subscription  integer;
    v_length        integer := 0;
begin
    select c.co_name into v_name from pgq.consumer c where c.co_id = i_consumer_id;
    while strpos(substr(v_name, v_length + 1), '.') > 0 loop
        v_length := v_length + strpos(substr(v_name, v_length + 1), '.');
        if v_subscription is null then
            select s.sub_id into v_subscription
              from pgq.subscription s
             where s.sub_queue = i_queue_id
               and s.sub_consumer = i_consumer_id
             order by s.sub_version desc
             limit 1;
        end if;
        if v_subscription = (select s.sub_id
                               from pgq.subscription s
                              where s.sub_queue = i_queue_id
                                and s.sub_consumer = (select c.co_id
                                                        from pgq.consumer c
                                                       where c.co_name = left(v_name, v_length - 1))
                              order by s.sub_version desc
                              limit 1) then
            return true;
        end if;
    end loop;
    return false;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp set enable_seqscan = off;
