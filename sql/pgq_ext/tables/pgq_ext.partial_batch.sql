-- Batch that a consumer is applying event by event.
create table if not exists pgq_ext.partial_batch (
    consumer_id     text not null,
    subconsumer_id  text not null default '',
    cur_batch_id    bigint not null,

    constraint partial_batch_pkey primary key (consumer_id, subconsumer_id)
);
