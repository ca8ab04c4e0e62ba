-- What a subscriber receives, and how far it is.

-- The last tick whose events are committed here, per consumer.
create table if not exists londiste.completed (
    consumer_id         text not null,
    last_tick_id        bigint not null,

    constraint completed_pkey primary key (consumer_id)
);
-- When that tick was made, if it is known: a provider that was restored gives its number out again.
alter table londiste.completed add column if not exists last_tick_time timestamptz;

-- Queues of this database that continue a subscribed queue.
create table if not exists londiste.link (
    source              text not null,
    dest                text not null,

    constraint link_pkey primary key (source),
    constraint link_dest_key unique (dest)
);

create table if not exists londiste.subscriber_table (
    nr                  serial not null,
    queue_name          text not null,
    table_name          text not null,
    -- xmin:xmax:xip,... of the copy, while events may still be contained in it
    snapshot            text,
    -- null, in-copy, catching-up, wanna-sync:TICK, do-sync:TICK, ok
    merge_state         text,
    -- unused
    trigger_name        text,
    -- whether the copy keeps the rows that are there
    skip_truncate       bool,

    constraint subscriber_table_pkey primary key (queue_name, table_name)
);

-- nr of londiste.provider_table under which the provider had the table when it was subscribed.
alter table londiste.subscriber_table add column if not exists provider_nr integer;
-- When merge_state became what it is.
alter table londiste.subscriber_table add column if not exists state_since timestamptz not null default now();

-- What processes failed with last; see londiste.set_job_error.
create table if not exists londiste.job_error (
    consumer_id         text not null,
    -- the table that a copy fills
    table_name          text,
    error               text not null,
    -- since when it has failed without success between
    first_at            timestamptz not null default now(),
    last_at             timestamptz not null default now(),
    times               bigint not null default 1,
    -- null while it fails
    solved_at           timestamptz,

    constraint job_error_pkey primary key (consumer_id)
);

-- How far copies are; of no use after a crash.
create unlogged table if not exists londiste.copy_progress (
    queue_name          text not null,
    table_name          text not null,
    phase               text not null,
    rows                bigint not null,
    bytes               bigint not null,
    -- by the statistics of the provider
    rows_expected       bigint,
    -- since the copy began
    seconds             float8 not null,
    noted_at            timestamptz not null default clock_timestamp(),

    constraint copy_progress_pkey primary key (queue_name, table_name)
);

-- Nodes that tables are copied from, where that is not the provider; a row goes when nothing of the copy is left there.
create table if not exists londiste.copy_source (
    queue_name          text not null,
    table_name          text not null,
    -- consumer of the copy at that node; null before it is registered
    consumer_id         text,
    -- may hold a password
    source_dsn          text not null,

    constraint copy_source_pkey primary key (queue_name, table_name)
);

create table if not exists londiste.subscriber_seq (
    nr                  serial not null,
    queue_name          text not null,
    seq_name            text not null,

    constraint subscriber_seq_pkey primary key (queue_name, seq_name)
);

-- Foreign keys that were dropped for a copy and wait to come back.
create table if not exists londiste.subscriber_pending_fkeys (
    from_table          text not null,
    to_table            text not null,
    fkey_name           text not null,
    -- alter table ... add constraint ...
    fkey_def            text not null,

    constraint subscriber_pending_fkeys_pkey primary key (from_table, fkey_name)
);
alter table londiste.subscriber_pending_fkeys add column if not exists fkey_comment text;

-- Triggers of subscribed tables that were dropped and wait to come back.
create table if not exists londiste.subscriber_pending_triggers (
    table_name          text not null,
    trigger_name        text not null,
    -- create trigger ...
    trigger_def         text not null,

    constraint subscriber_pending_triggers_pkey primary key (table_name, trigger_name)
);
-- pg_trigger.tgenabled: O origin, D disabled, R replica, A always.
alter table londiste.subscriber_pending_triggers add column if not exists trigger_enabled text not null default 'O';
alter table londiste.subscriber_pending_triggers add column if not exists trigger_comment text;
