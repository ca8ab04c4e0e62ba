-- Consumers of a queue and where they are. A consumer without an open batch has neither sub_batch
-- nor sub_next_tick; an idle member of a cooperative group has no ticks at all.
create table if not exists pgq.subscription (
    -- owner of retry and failed events; members of a cooperative group share it
    sub_id          serial not null,
    sub_queue       integer not null,
    sub_consumer    integer not null,

    sub_last_tick   bigint,
    sub_active      timestamptz not null default now(),
    sub_batch       bigint,
    sub_next_tick   bigint,

    constraint subscription_pkey primary key (sub_queue, sub_consumer),
    constraint subscription_batch_idx unique (sub_batch),
    constraint sub_queue_fkey foreign key (sub_queue) references pgq.queue (queue_id),
    constraint sub_consumer_fkey foreign key (sub_consumer) references pgq.consumer (co_id)
);
