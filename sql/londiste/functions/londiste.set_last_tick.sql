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
    return londiste.set_last_tick(i_consumer, i_tick_id, null);
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;

create or replace function londiste.set_last_tick(i_consumer text, i_tick_id bigint, i_tick_time timestamptz)
returns integer as $$
-- londiste.set_last_tick(3): as londiste.set_last_tick(2), with the time of the tick: a provider that was restored to
--           an older state gives out the same numbers again.
-- Parameters:
--      i_consumer      consumer name
--      i_tick_id       tick id; null forgets the position
--      i_tick_time     when it was made; null: unknown
-- Returns:  1
-- Changes:  londiste.completed
-- Used by:  replay, copies
begin
    if i_tick_id is null then
        delete from londiste.completed
         where consumer_id = i_consumer;
    else
        insert into londiste.completed (consumer_id, last_tick_id, last_tick_time)
        values (i_consumer, i_tick_id, i_tick_time)
        on conflict (consumer_id) do update
           set last_tick_id = excluded.last_tick_id, last_tick_time = excluded.last_tick_time;
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
