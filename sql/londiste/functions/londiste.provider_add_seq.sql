create or replace function londiste.provider_add_seq(i_queue_name text, i_seq_name text)
returns integer as $$
-- londiste.provider_add_seq(2): registers a sequence.
-- Parameters:
--      i_queue_name    queue to register it for
--      i_seq_name      schema.sequence, raw
-- Returns:  0
-- Raises:   "Linked queue, cannot modify"; undefined_table "seq not found"; unique_violation if it is registered
-- Changes:  londiste.provider_seq
begin
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, cannot modify'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    perform londiste.find_seq_oid(i_seq_name);
    insert into londiste.provider_seq (queue_name, seq_name)
    values (i_queue_name, i_seq_name);
    return 0;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
