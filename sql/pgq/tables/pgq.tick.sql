-- Ticks: snapshots between which batches lie. Hot and short, its statistics mislead: order by
-- tick_queue and tick_id in one direction, so that the primary key serves.
create table if not exists pgq.tick (
    tick_queue      integer not null,
    tick_id         bigint not null,
    tick_time       timestamptz not null default now(),
    tick_snapshot   txid_snapshot not null default txid_current_snapshot(),
    tick_event_seq  bigint not null,

    constraint tick_pkey primary key (tick_queue, tick_id),
    constraint tick_queue_fkey foreign key (tick_queue) references pgq.queue (queue_id)
);
