create or replace function pgq.grant_perms(x_queue_name text)
returns integer as $$
-- pgq.grant_perms(1): gives the tables of a queue the privileges of pgq.event_template.
-- Parameters:
--      x_queue_name      an existing queue
-- Returns:  1
-- Raises:   "Queue not found"
-- Reads:    pgq.queue
-- Changes:  privileges of the queue's tables and sequences
-- Used by:  pgq.create_queue, administrators after changing the template
declare
    v_queue     record;
    v_schema    text;
    v_parent    text;
begin
    select q.queue_data_pfx, q.queue_event_seq, q.queue_tick_seq, q.queue_ntables
      into v_queue
      from pgq.queue q
     where q.queue_name = x_queue_name;
    if not found then
        raise exception 'Queue not found';
    end if;

    -- Everybody may look where a sequence stands: status displays and clients' tickers do.
    execute format('grant select on sequence %s, %s to public',
                   pgq.quote_fqname(v_queue.queue_event_seq), pgq.quote_fqname(v_queue.queue_tick_seq));
    execute format('grant usage on sequence %s to pgq_admin', pgq.quote_fqname(v_queue.queue_event_seq));

    v_schema := split_part(v_queue.queue_data_pfx, '.', 1);
    v_parent := substr(v_queue.queue_data_pfx, length(v_schema) + 2);
    perform pgq._grant_perms_from('pgq', 'event_template', v_schema, v_parent);
    for i in 0 .. v_queue.queue_ntables - 1 loop
        perform pgq._grant_perms_from('pgq', 'event_template', v_schema, v_parent || '_' || i);
    end loop;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
