create or replace function pgq_gen._state(i_table oid, i_queue text, i_generator text)
returns text as $$
-- pgq_gen._state(3): fingerprint of all that the function of a capture is generated from.
-- Parameters:
--      i_table      captured table
--      i_queue      its queue
--      i_generator  pgq_gen._generator()
-- Returns:  32 hexadecimal digits
-- Reads:    the definition of the table, pgq.queue
-- Used by:  pgq_gen._state, pgq.refresh_captures
    select md5(concat(
        i_table,
        -- Triggers of partitions know their capture by it.
        pg_partition_root(i_table)::oid,
        pgq_gen.shape(i_table),
        (select concat_ws(' ', q.queue_id, q.queue_ntables, q.queue_data_pfx, q.queue_event_seq)
           from pgq.queue q
          where q.queue_name = i_queue),
        i_generator));
$$ language sql stable set search_path = pg_catalog, pg_temp;

create or replace function pgq_gen._state(i_table oid, i_queue text)
returns text as $$
-- pgq_gen._state(2): fingerprint of all that the function of a capture is generated from.
-- Returns:  as pgq_gen._state(3)
-- Reads:    as pgq_gen._state(3); the functions of pgq_gen that write code
-- Used by:  pgq_gen._write, londiste.stale_trigger
    select pgq_gen._state(i_table, i_queue, pgq_gen._generator());
$$ language sql stable set search_path = pg_catalog, pg_temp;
