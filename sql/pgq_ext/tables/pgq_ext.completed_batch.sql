-- Last batch that a consumer applied.
create table if not exists pgq_ext.completed_batch (
    consumer_id     text not null,
    subconsumer_id  text not null default '',
    last_batch_id   bigint not null,
    -- when the source made the tick that ends it; null: unknown
    last_batch_end  timestamptz,

    constraint completed_batch_pkey primary key (consumer_id, subconsumer_id)
);
