-- Consumers of a queue and where they are. A consumer without an open batch has neither sub_batch
-- nor sub_next_tick; an idle member of a cooperative group has no ticks at all. A consumer has one row
-- per queue: pgq._one_subscription sees to it.
create table if not exists pgq.subscription (
    -- owner of retry and failed events; members of a cooperative group share it
    sub_id          serial not null,
    sub_queue       integer not null,
    sub_consumer    integer not null,

    sub_last_tick   bigint,
    sub_active      timestamptz not null default now(),
    sub_batch       bigint,
    sub_next_tick   bigint,

    -- Raised by every change. While somebody holds an old snapshot, the versions that a row leaves behind
    -- cannot be removed; with a key of its own each is met by nobody who asks for the highest one, and
    -- storing the next version need not check whether they are gone.
    sub_version     bigint not null default 0,

    constraint subscription_pkey primary key (sub_queue, sub_consumer, sub_version),
    constraint subscription_batch_idx unique (sub_batch),
    constraint sub_queue_fkey foreign key (sub_queue) references pgq.queue (queue_id),
    constraint sub_consumer_fkey foreign key (sub_consumer) references pgq.consumer (co_id)
);
