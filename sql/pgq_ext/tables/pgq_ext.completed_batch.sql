-- Last batch that a consumer applied.
create table if not exists pgq_ext.completed_batch (
    consumer_id     text not null,
    subconsumer_id  text not null default '',
    last_batch_id   bigint not null,

    constraint completed_batch_pkey primary key (consumer_id, subconsumer_id)
);
