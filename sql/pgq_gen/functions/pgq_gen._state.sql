create or replace function pgq_gen._state(i_table oid, i_queue text)
returns text as $$
-- pgq_gen._state(2): fingerprint of all that the function of a capture is generated from.
-- Parameters:
--      i_table      captured table
--      i_queue      its queue
-- Returns:  32 hexadecimal digits
-- Reads:    the definition of the table, pgq.queue, the functions of pgq_gen that write code
-- Used by:  pgq_gen._write, pgq.refresh_captures, londiste.provider_check
    select md5(concat(
        i_table,
        -- Triggers of partitions know their capture by it.
        pg_partition_root(i_table)::oid,
        pgq_gen.shape(i_table),
        (select concat_ws(' ', q.queue_id, q.queue_ntables, q.queue_data_pfx, q.queue_event_seq)
           from pgq.queue q
          where q.queue_name = i_queue),
        -- A new version writes new code.
        (select md5(string_agg(p.prosrc, '' order by p.proname))
           from pg_proc p
          where p.pronamespace = 'pgq_gen'::regnamespace
            and p.proname like E'\\_%')));
$$ language sql stable set search_path = pg_catalog, pg_temp;
