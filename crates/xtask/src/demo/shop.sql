-- A small shop: the types, names and constraints that real schemas have. Loaded on both sides.
create schema shop;

create sequence shop.invoice_number start 1000;

create table shop."Customer" (
    id bigserial primary key,
    "Full Name" text not null,
    email text unique,
    since timestamptz not null default now(),
    tags text[],
    profile jsonb,
    notes text
);

create table shop.product (
    sku text primary key,
    title text not null,
    price numeric(12, 2) not null check (price >= 0),
    attributes json,
    added timestamp,
    weight double precision,
    picture bytea
);

create table shop."order" (
    id bigserial primary key,
    "user" bigint not null references shop."Customer",
    placed timestamptz not null default clock_timestamp(),
    invoice bigint not null default nextval('shop.invoice_number'),
    total numeric,
    paid boolean,
    "desc" text
);

create index on shop."order" ("user", placed);

create table shop.order_line (
    "order" bigint not null references shop."order" on delete cascade,
    line integer not null,
    sku text not null references shop.product on update cascade,
    quantity integer not null,
    price numeric(12, 2),
    primary key ("order", line)
);

-- One row every 100 ms; when it appears on the subscriber tells the lag.
create table shop.heartbeat (
    id bigserial primary key,
    sent timestamptz not null default clock_timestamp()
);

-- pgbench gives its history table no key, and rows without a key cannot be told apart.
alter table pgbench_history add column id bigserial primary key;
