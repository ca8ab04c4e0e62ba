-- The library pgq_triggers of PgQ 3 runs the triggers; those on tables stay. Needs a superuser, and the
-- library on the server.
create or replace function pgq.sqltriga() returns trigger as '$libdir/pgq_triggers', 'pgq_sqltriga' language c;

create or replace function pgq.logutriga() returns trigger as '$libdir/pgq_triggers', 'pgq_logutriga' language c;

create or replace function pgq.logtriga() returns trigger as '$libdir/pgq_triggers', 'pgq_logtriga' language c;

do $$
begin
    create or replace function pgq.jsontriga() returns trigger as '$libdir/pgq_triggers', 'pgq_jsontriga' language c;
exception
    when undefined_function then
        raise notice 'the library has no jsontriga: it stays as it is';
end
$$;
