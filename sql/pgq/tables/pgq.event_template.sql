-- Parent of all event tables: never holds a row, shows those of every queue, and its privileges are
-- copied to new queues. Bulk loaders name their columns; ev_id and ev_txid have defaults there.
create table if not exists pgq.event_template (
    ev_id       bigint not null,
    -- no default: a bulk loader has to say
    ev_time     timestamptz not null,
    ev_txid     bigint not null default txid_current(),
    -- subscription that a retried event is for; null: everybody
    ev_owner    integer,
    -- number of redeliveries; null: first delivery
    ev_retry    integer,

    ev_type     text,
    ev_data     text,
    ev_extra1   text,
    ev_extra2   text,
    ev_extra3   text,
    ev_extra4   text
);
