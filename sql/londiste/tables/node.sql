-- This database in the cascade of a queue: all nodes of one lineage have the same events and the same ticks.

create table if not exists londiste.node_info (
    queue_name          text not null,
    -- made on the root, copied to every node: ticks of different lineages do not compare
    lineage             uuid not null,
    node_name           text not null,
    -- this database, whatever it is called; copied files of it are the same node
    node_id             uuid not null default gen_random_uuid(),
    -- connect string that overrides provider_db of the configuration; may hold a password
    provider_dsn        text,
    -- demoted: this root writes nothing any more
    paused              boolean not null default false,
    -- grows with every promotion of a node to root
    generation          integer not null default 1,
    -- node and server that events were last read from: snapshots of copies belong to it
    provider_id         text,
    -- when the last watermark was published
    watermark_time      timestamptz,

    constraint node_info_pkey primary key (queue_name)
);

-- Promotions: whoever has applied a tick above last_tick while in an older generation has changes that the
-- new root never had.
create table if not exists londiste.node_generation (
    queue_name          text not null,
    generation          integer not null,
    -- the root from then on
    node_name           text not null,
    -- newest tick of the old root that the new one has
    last_tick           bigint not null,

    constraint node_generation_pkey primary key (queue_name, generation)
);
