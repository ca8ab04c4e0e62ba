create or replace function londiste.set_last_tick(i_consumer text, i_tick_id bigint)
returns integer as $$
-- londiste.set_last_tick(2): records the last tick whose events are committed here, in the transaction of
--           those events.
-- Parameters:
--      i_consumer      consumer name
--      i_tick_id       tick id; null forgets the position
-- Returns:  1
-- Changes:  londiste.completed
begin
    if i_tick_id is null then
        delete from londiste.completed
         where consumer_id = i_consumer;
    else
        insert into londiste.completed (consumer_id, last_tick_id)
        values (i_consumer, i_tick_id)
        on conflict (consumer_id) do update set last_tick_id = excluded.last_tick_id;
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
