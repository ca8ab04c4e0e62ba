-- Queues: their configuration and the state of their table ring.
create table if not exists pgq.queue (
    queue_id                    serial,
    queue_name                  text not null,

    -- ring of data tables
    queue_ntables               integer not null default 3,
    queue_cur_table             integer not null default 0,
    queue_rotation_period       interval not null default '2 hours',
    -- transaction that did the last switch, and a later one by which everybody sees it; null: not yet
    queue_switch_step1          bigint not null default txid_current(),
    queue_switch_step2          bigint default txid_current(),
    queue_switch_time           timestamptz not null default now(),

    -- ticks come from outside with their ids; inserts only in replica role; no ticks at all
    queue_external_ticker       boolean not null default false,
    queue_disable_insert        boolean not null default false,
    queue_ticker_paused         boolean not null default false,

    -- when a tick is due
    queue_ticker_max_count      integer not null default 500,
    queue_ticker_max_lag        interval not null default '3 seconds',
    queue_ticker_idle_period    interval not null default '1 minute',
    -- events that one transaction may insert; null: no limit
    queue_per_tx_limit          integer,

    -- names of the queue's objects, unquoted dotted text
    queue_data_pfx              text not null,
    queue_event_seq             text not null,
    queue_tick_seq              text not null,

    -- functions that maintenance calls with the queue name
    queue_extra_maint           text[],
    -- redeliveries of an event before pgq.nack gives up on it; null: no limit
    queue_max_retries           integer,

    -- whether the ticker wakes up who listens on the channel pgq_tick
    queue_notify                boolean not null default false,

    constraint queue_pkey primary key (queue_id),
    constraint queue_name_uq unique (queue_name)
);
