create or replace function londiste.execute_start(i_queue_name text, i_file_name text, i_sql text)
returns integer as $$
-- londiste.execute_start(3): records a script that is about to run here. The caller runs it in the same
--           transaction.
-- Parameters:
--      i_queue_name    queue that carries it
--      i_file_name     its name
--      i_sql           its text
-- Returns:  1; 0 if it has run here: the same text under the same name
-- Changes:  londiste.applied_execute
-- Used by:  provider execute, replay
begin
    insert into londiste.applied_execute (queue_name, execute_file, execute_hash, execute_sql)
    values (i_queue_name, i_file_name, encode(sha256(convert_to(i_sql, 'UTF8')), 'hex'), i_sql)
        on conflict do nothing;
    return case when found then 1 else 0 end;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
