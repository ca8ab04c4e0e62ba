-- Last tick that a consumer applied.
create table if not exists pgq_ext.completed_tick (
    consumer_id     text not null,
    subconsumer_id  text not null default '',
    last_tick_id    bigint not null,
    -- when the source made it; null: unknown
    last_tick_time  timestamptz,

    constraint completed_tick_pkey primary key (consumer_id, subconsumer_id)
);
