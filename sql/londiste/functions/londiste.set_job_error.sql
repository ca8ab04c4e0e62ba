create or replace function londiste.set_job_error(i_consumer text, i_table text, i_error text)
returns integer as $$
-- londiste.set_job_error(3): remembers what a process of this subscriber fails with, for londiste status.
-- Parameters:
--      i_consumer      consumer of replay or of a copy
--      i_table         table that it copies, or null
--      i_error         what went wrong; null: it works
-- Returns:  1
-- Changes:  londiste.job_error: replay that works has a row without a text, if it has none, so that an error
--           takes no new page where the disk is full
-- Used by:  replay, copy
begin
    if i_error is null then
        if i_table is null then
            insert into londiste.job_error (consumer_id, error, solved_at)
            values (i_consumer, '', now())
                on conflict do nothing;
        end if;
        update londiste.job_error
           set solved_at = now()
         where consumer_id = i_consumer and solved_at is null;
        return 1;
    end if;
    insert into londiste.job_error as e (consumer_id, table_name, error)
    values (i_consumer, i_table, i_error)
        on conflict (consumer_id) do update
       set table_name = excluded.table_name,
           error = excluded.error,
           first_at = case when e.solved_at is null then e.first_at else excluded.first_at end,
           last_at = excluded.last_at,
           times = case when e.solved_at is null then e.times else 0 end + 1,
           solved_at = null;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
