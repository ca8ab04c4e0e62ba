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

-- row, statement or generic, as pgq.create_capture takes it.
alter table londiste.provider_table add column if not exists capture_level text not null default 'row';
-- Whether TRUNCATE is captured.
alter table londiste.provider_table add column if not exists capture_truncate boolean not null default false;
-- Unique index whose columns are the key; null: the primary key.
alter table londiste.provider_table add column if not exists key_index text;
-- Whether updates and deletes are errors, so that no key is needed.
alter table londiste.provider_table add column if not exists insert_only boolean not null default false;

create table if not exists londiste.provider_seq (
    nr                  serial not null,
    queue_name          text not null,
    seq_name            text not null,

    constraint provider_seq_pkey primary key (queue_name, seq_name)
);
