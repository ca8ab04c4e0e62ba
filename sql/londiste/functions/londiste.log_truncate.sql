create or replace function londiste.log_truncate()
returns trigger as $$
-- londiste.log_truncate(0): trigger for AFTER TRUNCATE: writes an event of type R into a queue, with the
--           rights of the owner, as captures of rows do.
-- Parameters:
--      tg_argv     queue; registered name of the table
-- Changes:  the queue, except in sessions of the replication role local
begin
    if current_setting('session_replication_role') <> 'local' then
        perform pgq.insert_event(tg_argv[0], 'R', '', tg_argv[1], null, null, null);
    end if;
    return null;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
