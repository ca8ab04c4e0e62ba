-- What a queue carries: tables and sequences registered on the provider.

create table if not exists londiste.provider_table (
    -- order of registration
    nr                  serial not null,
    queue_name          text not null,
    -- schema.table, raw; see londiste.make_fqname
    table_name          text not null,
    -- null on linked queues
    trigger_name        text,

    constraint provider_table_pkey primary key (queue_name, table_name)
);

create table if not exists londiste.provider_seq (
    nr                  serial not null,
    queue_name          text not null,
    seq_name            text not null,

    constraint provider_seq_pkey primary key (queue_name, seq_name)
);
