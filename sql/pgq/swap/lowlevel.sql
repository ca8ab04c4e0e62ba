-- The library pgq_lowlevel of PgQ 3 inserts events. Needs a superuser, and the library on the server.
-- What was fixed here comes back with it: a queue's row decides, unquoted, where events go.
create or replace function pgq.insert_event_raw(
    queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer,
    ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
returns bigint as '$libdir/pgq_lowlevel', 'pgq_insert_event_raw' language c;
