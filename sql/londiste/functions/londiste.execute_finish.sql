create or replace function londiste.execute_finish(
    i_queue_name text, i_file_name text, i_sql text, i_attrs text)
returns integer as $$
-- londiste.execute_finish(4): sends a script that has run on the provider, in the transaction that ran it.
-- Parameters:
--      i_queue_name    an existing queue
--      i_file_name, i_sql      as for londiste.execute_start
--      i_attrs         what it is limited to, url-encoded
-- Returns:  1
-- Raises:   "Linked queue, manipulation not allowed"; "script ... has changed captured rows": its changes
--           would be made twice on subscribers
-- Changes:  an event of type EXECUTE; captures of tables that the script changed
-- Used by:  provider execute
declare
    v_captured  boolean;
begin
    if londiste.link_source(i_queue_name) is not null then
        raise exception 'Linked queue, manipulation not allowed'
            using hint = 'It is a relay''s: run the command with the root of the cascade as provider_db.';
    end if;
    execute format('select exists (select from %s where ev_txid = $1)', pgq.current_event_table(i_queue_name))
       into v_captured
      using pg_current_xact_id()::text::bigint;
    if v_captured then
        raise exception 'script "%" has changed captured rows', i_file_name
            using errcode = 'insufficient_privilege',
                  detail = 'Subscribers would make these changes twice: by the events, and by the script.',
                  hint = 'Leave them to the application, or run the script as a role that may '
                         'set session_replication_role.';
    end if;
    perform londiste.refresh_stale_triggers();
    perform pgq.insert_event(i_queue_name, 'EXECUTE', i_sql, i_file_name, i_attrs, null, null);
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
