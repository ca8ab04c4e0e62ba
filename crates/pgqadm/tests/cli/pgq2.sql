-- What the ticker needs of a PgQ 2 schema: a ticker that ticks whenever it is called, and maintenance
-- without a list of operations.
create schema pgq;

create table pgq.queue (
    queue_id                    serial primary key,
    queue_name                  text not null unique,
    queue_external_ticker       boolean not null default false,
    queue_ticker_max_count      integer not null default 500,
    queue_ticker_max_lag        interval not null default '3 seconds',
    queue_ticker_idle_period    interval not null default '1 minute',
    queue_event_seq             text not null
);

create table pgq.tick (
    tick_queue  integer not null references pgq.queue,
    tick_id     bigserial,
    tick_time   timestamptz not null default now(),
    primary key (tick_queue, tick_id)
);

create table pgq.calls (function text not null, argument text);

create function pgq.version() returns text language sql as $$ select '2.1.13' $$;

create function pgq.ticker(i_queue_name text) returns bigint language sql as $$
    insert into pgq.tick (tick_queue) select queue_id from pgq.queue where queue_name = $1
    returning tick_id
$$;

create function pgq.ticker() returns bigint language plpgsql as $$
begin
    raise exception 'ticks every queue, due or not';
end
$$;

create function pgq.maint_rotate_tables_step1(i_queue_name text) returns integer language sql as $$
    insert into pgq.calls values ('step1', $1);
    select 1
$$;

create function pgq.maint_rotate_tables_step2() returns integer language sql as $$
    insert into pgq.calls values ('step2', null);
    select 1
$$;

create function pgq.maint_retry_events() returns integer language sql as $$ select 0 $$;

create function pgq.maint_tables_to_vacuum() returns setof text language sql as $$ select 'pgq.tick' $$;

create sequence pgq."event 1 seq";
insert into pgq.queue (queue_name, queue_event_seq, queue_ticker_max_lag)
values ('it''s "q"', 'pgq.event 1 seq', '0.2 seconds'),
       ('elsewhere', 'pgq.event 1 seq', '0');
update pgq.queue set queue_external_ticker = true where queue_name = 'elsewhere';
