create or replace function pgq.upgrade_schema()
returns integer as $$
-- pgq.upgrade_schema(0): gives the tables of an older version the structure of this one, and removes
-- functions that cannot be replaced because their result or the names of their arguments differ.
-- Returns:  number of changes; 0 when there is nothing to do
-- Raises:   unique_violation if a consumer is registered twice on a queue, which version 2 allowed once
-- Changes:  definitions of pgq.consumer, queue, tick, subscription, retry_queue and failed_queue; deletes
--           rows of pgq.retry_queue that belong to no subscription
-- Locks:    tables that it changes
-- Used by:  install.sql
declare
    v_change    record;
    v_count     integer := 0;
begin
    -- Statements with the condition that makes each necessary, in order.
    for v_change in
        with attribute as (
            select a.attrelid, a.attname::text as name, a.attnotnull, a.atthasdef
              from pg_attribute a
             where a.attnum > 0
               and not a.attisdropped
        ), column_missing (statement, place) as (
            select format('alter table %s add column %s', c.relation, c.definition), c.place
              from (values
                       (1, 'pgq.queue', 'queue_disable_insert', 'queue_disable_insert boolean not null default false'),
                       (2, 'pgq.queue', 'queue_ticker_paused', 'queue_ticker_paused boolean not null default false'),
                       (3, 'pgq.queue', 'queue_per_tx_limit', 'queue_per_tx_limit integer'),
                       (4, 'pgq.queue', 'queue_extra_maint', 'queue_extra_maint text[]'),
                       -- Ticks of the past do not know their position.
                       (5, 'pgq.tick', 'tick_event_seq', 'tick_event_seq bigint'),
                       (6, 'pgq.retry_queue', 'ev_queue', 'ev_queue integer')
                   ) c (place, relation, name, definition)
             where not exists (select from attribute a
                                where a.attrelid = c.relation::regclass and a.name = c.name)
        ), ev_queue_new (statement, place) as (
            select s.statement, s.place
              from (values
                       (7, 'update pgq.retry_queue set ev_queue = s.sub_queue'
                           ' from pgq.subscription s where s.sub_id = ev_owner'),
                       (8, 'delete from pgq.retry_queue where ev_queue is null'),
                       (9, 'alter table pgq.retry_queue alter ev_queue set not null, add constraint rq_queue_id_fkey'
                           ' foreign key (ev_queue) references pgq.queue (queue_id)')
                   ) s (place, statement)
             where exists (select from column_missing where place = 6)
        ), constraint_gone (statement, place) as (
            -- Members of a cooperative group share a sub_id, so nothing can refer to it.
            select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname), 10
              from pg_constraint k
             where k.conrelid in ('pgq.retry_queue'::regclass, 'pgq.failed_queue'::regclass,
                                  'pgq.subscription'::regclass)
               and (k.conname in ('rq_owner_fkey', 'fq_owner_fkey', 'subscription_ukey')
                    or k.conname = 'subscription_pkey' and cardinality(k.conkey) = 1)
        )
        select * from column_missing
        union all
        select * from ev_queue_new
        union all
        select * from constraint_gone
        union all
        select 'drop index pgq.rq_retry_owner_idx', 10
         where to_regclass('pgq.rq_retry_owner_idx') is not null
        union all
        select 'alter table pgq.subscription add constraint subscription_pkey primary key (sub_queue, sub_consumer)', 11
         where not exists (select from pg_constraint
                            where conrelid = 'pgq.subscription'::regclass and contype = 'p' and cardinality(conkey) = 2)
        union all
        select 'alter table pgq.subscription add constraint subscription_batch_idx unique (sub_batch)', 11
         where to_regclass('pgq.subscription_batch_idx') is null
        union all
        select 'alter table pgq.subscription alter sub_last_tick drop not null', 12
         where exists (select from attribute
                        where attrelid = 'pgq.subscription'::regclass and name = 'sub_last_tick' and attnotnull)
        union all
        select 'alter table pgq.consumer alter co_name drop default', 12
         where exists (select from attribute
                        where attrelid = 'pgq.consumer'::regclass and name = 'co_name' and atthasdef)
        union all
        select 'drop function ' || p.oid::regprocedure, 13
          from pg_proc p
          join pg_type t on t.oid = p.prorettype
         where p.pronamespace = 'pgq'::regnamespace
           and (t.typnamespace = 'pgq'::regnamespace and starts_with(t.typname, 'ret_')
                or p.proname = 'next_batch' and p.proargnames[1] <> 'i_queue_name'
                or p.proname = 'get_queue_info' and p.pronargs = 1 and p.proargnames[1] <> 'i_queue_name')
         order by 2, 1
    loop
        execute v_change.statement;
        v_count := v_count + 1;
    end loop;
    return v_count;
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
