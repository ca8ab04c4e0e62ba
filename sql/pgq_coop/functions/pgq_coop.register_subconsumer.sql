create or replace function pgq_coop.register_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text)
returns integer as $$
-- pgq_coop.register_subconsumer(3): makes a process a member of a cooperative group.
-- Parameters:
--      i_queue_name            an existing queue
--      i_consumer_name         main consumer, whose position the group shares; registered if it is not
--                              yet. Its name has no dot: the member is stored as consumer.subconsumer
--      i_subconsumer_name      name of the member in the group, any text
-- Returns:  1 if registered now, 0 if it was
-- Raises:   as pgq.register_consumer; "consumer ... has a dot in its name"; "consumer ... is not a
--           member of ..." if the member's name is taken by a consumer with a position of its own
-- Changes:  pgq.consumer, pgq.subscription
-- Locks:    the rows of the main consumer and of the member
-- Used by:  cooperative consumers, pgq_coop.next_batch_custom
declare
    v_name      text := i_consumer_name || '.' || i_subconsumer_name;
    v_main      record;
    v_member    record;
begin
    if v_name is null then
        raise exception 'consumer and subconsumer must not be NULL';
    end if;
    select * into v_main from pgq_coop._lock_main(i_queue_name, i_consumer_name);

    select s.* into v_member
      from pgq.subscription s
     where s.sub_queue = v_main.queue_id
       and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = v_name)
     order by s.sub_version desc
     limit 1
       for update;
    if found then
        if v_member.sub_id <> v_main.group_id then
            raise exception 'consumer "%" is not a member of "%"', v_name, i_consumer_name
                using hint = 'It is registered by itself. Choose another name for the member.';
        end if;
        return 0;
    end if;

    -- "a.b" with a member "c" would be the same as "a" with a member "b.c". Groups that older
    -- versions made go on.
    if strpos(i_consumer_name, '.') > 0
       and not exists (select
                         from pgq.subscription s
                        where s.sub_queue = v_main.queue_id
                          and s.sub_id = v_main.group_id
                          and s.sub_consumer <> v_main.consumer_id) then
        raise exception 'consumer "%" has a dot in its name', i_consumer_name
            using detail = 'Members of a cooperative group are named consumer.subconsumer.';
    end if;
    perform pgq.register_consumer(i_queue_name, v_name);
    update pgq.subscription s
       set sub_id = v_main.group_id,
           sub_last_tick = null,
           sub_next_tick = null,
           sub_version = s.sub_version + 1
      from pgq.consumer c
     where s.sub_queue = v_main.queue_id
       and s.sub_consumer = c.co_id
       and c.co_name = v_name;
    return 1;
end;
-- Plans are kept from the time when the tables were small.
$$ language plpgsql security definer set search_path = pg_catalog, pgq_coop, pg_temp set enable_seqscan = off;
