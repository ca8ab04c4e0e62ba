-- Names of consumers; one row serves all queues that a consumer of that name reads.
create table if not exists pgq.consumer (
    co_id       serial,
    co_name     text not null,

    constraint consumer_pkey primary key (co_id),
    constraint consumer_name_uq unique (co_name)
);
