-- Events that a consumer gave up on. The row type is the result type of pgq.failed_event_list, and
-- outside tools read the table: no column may be added, moved or dropped.
create table if not exists pgq.failed_queue (
    ev_failed_reason    text,
    ev_failed_time      timestamptz not null,

    ev_id               bigint not null,
    ev_time             timestamptz not null,
    ev_txid             bigint,
    ev_owner            integer not null,
    ev_retry            integer,
    ev_type             text,
    ev_data             text,
    ev_extra1           text,
    ev_extra2           text,
    ev_extra3           text,
    ev_extra4           text,

    constraint fq_pkey primary key (ev_owner, ev_id)
);
