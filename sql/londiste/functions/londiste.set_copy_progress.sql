create or replace function londiste.set_copy_progress(
    i_queue_name text, i_table_name text, i_phase text,
    i_rows bigint, i_bytes bigint, i_rows_expected bigint, i_seconds float8)
returns integer as $$
-- londiste.set_copy_progress(7): tells other sessions how far a copy is.
-- Parameters:
--      i_queue_name        queue
--      i_table_name        table that is copied
--      i_phase             what it does now; null: nothing any more
--      i_rows              rows sent
--      i_bytes             bytes of them
--      i_rows_expected     rows by the statistics of the provider, or null
--      i_seconds           time since it began
-- Returns:  1
-- Changes:  londiste.copy_progress
-- Used by:  copy
begin
    if i_phase is null then
        delete from londiste.copy_progress
         where queue_name = i_queue_name and table_name = i_table_name;
        return 1;
    end if;
    insert into londiste.copy_progress as p
           (queue_name, table_name, phase, rows, bytes, rows_expected, seconds)
    values (i_queue_name, i_table_name, i_phase, i_rows, i_bytes, i_rows_expected, i_seconds)
        on conflict (queue_name, table_name) do update
       set phase = excluded.phase,
           rows = excluded.rows,
           bytes = excluded.bytes,
           rows_expected = excluded.rows_expected,
           seconds = excluded.seconds,
           noted_at = excluded.noted_at;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
