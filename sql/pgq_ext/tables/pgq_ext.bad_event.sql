-- Events that a consumer could not apply and put aside, with the reason; a person decides what becomes of them.
create table if not exists pgq_ext.bad_event (
    consumer        text not null,
    queue           text not null,
    ev_id           bigint not null,
    ev_time         timestamptz not null,
    ev_type         text,
    ev_data         text,
    ev_extra1       text,
    ev_extra2       text,
    ev_extra3       text,
    ev_extra4       text,
    reason          text not null,
    logged_at       timestamptz not null default now()
);

create index if not exists bad_event_idx on pgq_ext.bad_event (consumer, queue, ev_id);
