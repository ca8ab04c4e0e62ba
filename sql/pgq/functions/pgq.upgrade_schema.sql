create or replace function pgq.upgrade_schema()
returns integer as $$
-- pgq.upgrade_schema(0): gives the tables of an older version the structure of this one, and removes
-- functions that cannot be replaced because their result or the names of their arguments differ.
-- Returns:  number of changes; 0 when there is nothing to do
-- Raises:   unique_violation if a consumer is registered twice on a queue, which version 2 allowed once;
--           lock_not_available if transactions use the tables without a pause
-- Changes:  definitions of pgq.consumer, queue, tick, subscription, retry_queue and failed_queue; deletes
--           rows of pgq.retry_queue that belong to no subscription
-- Locks:    if there is anything to change, all of them, against everybody
-- Used by:  install.sql
declare
    v_statements    text[];
    v_twice         text;
    v_deadline      timestamptz := clock_timestamp() + interval '1 minute';
begin
    -- Statements with the condition that makes each necessary, in order.
    select array_agg(c.statement order by c.place, c.statement)
      into v_statements
      from (
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
                       (5, 'pgq.queue', 'queue_max_retries', 'queue_max_retries integer'),
                       -- Ticks of the past do not know their position.
                       (5, 'pgq.tick', 'tick_event_seq', 'tick_event_seq bigint'),
                       (4, 'pgq.queue', 'queue_notify', 'queue_notify boolean not null default false'),
                       (6, 'pgq.retry_queue', 'ev_queue', 'ev_queue integer'),
                       (6, 'pgq.subscription', 'sub_version', 'sub_version bigint not null default 0'),
                       (6, 'pgq.capture', 'cap_columns', 'cap_columns text[]'),
                       (7, 'pgq.capture', 'cap_problem', 'cap_problem text'),
                       (8, 'pgq.capture', 'cap_problem_since', 'cap_problem_since timestamptz'),
                       (9, 'pgq.capture', 'cap_advice', 'cap_advice text')
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
             where exists (select from column_missing where starts_with(statement, 'alter table pgq.retry_queue'))
        ), constraint_gone (statement, place) as (
            -- Members of a cooperative group share a sub_id, so nothing can refer to it.
            select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname), 10
              from pg_constraint k
             where k.conrelid in ('pgq.retry_queue'::regclass, 'pgq.failed_queue'::regclass,
                                  'pgq.subscription'::regclass)
               and (k.conname in ('rq_owner_fkey', 'fq_owner_fkey', 'subscription_ukey')
                    or k.conname = 'subscription_pkey' and cardinality(k.conkey) < 3)
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
        select 'alter table pgq.subscription add constraint subscription_pkey'
               ' primary key (sub_queue, sub_consumer, sub_version)', 11
         where not exists (select from pg_constraint
                            where conrelid = 'pgq.subscription'::regclass and contype = 'p' and cardinality(conkey) = 3)
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
                or p.proname = 'get_queue_info' and p.pronargs = 1 and p.proargnames[1] <> 'i_queue_name'
                or p.proname in ('_capture_overrides', '_capture_expression') and p.pronargs = 2
                or p.proname = '_unaware_sessions' and cardinality(p.proallargtypes) < 6)
    ) c;
    if v_statements is null then
        return 0;
    end if;

    -- Clients lock these tables in an order of their own. To wait for one while holding others could end a
    -- client by deadlock, so the wait is short (see below), and starts over without any lock.
    loop
        begin
            lock table pgq.queue, pgq.consumer, pgq.subscription, pgq.tick, pgq.retry_queue, pgq.failed_queue
                in access exclusive mode;
            exit;
        exception
            when lock_not_available then
                if clock_timestamp() > v_deadline then
                    raise exception 'the tables of PgQ are in use without a pause'
                        using errcode = 'lock_not_available',
                              hint = 'Transactions that hold them: '
                                     || (select string_agg(distinct l.pid::text, ', ')
                                           from pg_locks l
                                           join pg_class r on r.oid = l.relation
                                          where l.database = (select oid from pg_database
                                                               where datname = current_database())
                                            and r.relnamespace = 'pgq'::regnamespace
                                            and l.pid <> pg_backend_pid());
                end if;
                perform pg_sleep(0.05);
        end;
    end loop;

    select string_agg(format('%s on %s (sub_id %s)', t.co_name, t.queue_name, t.ids), '; ')
      into v_twice
      from (
        select c.co_name, q.queue_name, string_agg(s.sub_id::text, ', ' order by s.sub_id) as ids
          from pgq.subscription s
          join pgq.queue q on q.queue_id = s.sub_queue
          join pgq.consumer c on c.co_id = s.sub_consumer
         group by c.co_name, q.queue_name
        having count(*) > 1) t;
    if v_twice is not null then
        raise exception 'registered more than once: %', v_twice
            using errcode = 'unique_violation',
                  hint = 'Delete the rows of pgq.subscription that no consumer uses, with their rows in '
                         'pgq.retry_queue and pgq.failed_queue; sub_active tells when each was used.';
    end if;

    for i in 1 .. cardinality(v_statements) loop
        execute v_statements[i];
    end loop;
    return cardinality(v_statements);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp set lock_timeout = '100ms';
