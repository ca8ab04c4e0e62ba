create or replace function pgq._queue_health(
    i_queue_name text, i_all_sizes boolean,
    out queue_name text, out ticker_paused boolean, out external_ticker boolean, out insert_disabled boolean,
    out ticker_lag interval, out ticker_limit interval, out new_events bigint,
    out rotation_age interval, out rotation_overdue interval, out switch_pending boolean,
    out rotation_blocker text, out rotation_blocker_name text, out rotation_blocker_age interval,
    out event_tables_size bigint,
    out retry_events bigint, out retry_overdue interval, out failed_events bigint)
returns setof record as $$
-- pgq._queue_health(2): what there is to watch about a queue.
-- Parameters:
--      i_queue_name      queue; null: all, ordered by name
--      i_all_sizes       false: the size of event tables only where a rotation is due. The files of each table
--                        are looked at, which takes most of the time that all the rest takes
-- Returns:  as pgq.get_queue_health(1)
-- Reads:    as pgq.get_queue_health(1)
-- Used by:  pgq.get_queue_health, pgq.get_problems
begin
    return query
        select q.queue_name, q.queue_ticker_paused, q.queue_external_ticker, q.queue_disable_insert,
               pgq._age(newest.tick_time),
               case when not q.queue_ticker_paused and not q.queue_external_ticker
                    then greatest(q.queue_ticker_idle_period, q.queue_ticker_max_lag)
               end,
               case when newest.tick_event_seq is not null
                    then greatest(pgq._seq_position(q.queue_event_seq) - newest.tick_event_seq, 0)
               end,
               pgq._age(q.queue_switch_time),
               due.overdue,
               q.queue_switch_step2 is null,
               b.blocker, b.blocker_name, b.blocker_age,
               case when i_all_sizes or due.overdue is not null
                    then (select sum(pg_total_relation_size(to_regclass(
                                     pgq.quote_fqname(q.queue_data_pfx || '_' || n))))::bigint
                            from generate_series(0, q.queue_ntables - 1) n)
               end,
               retry.events, retry.overdue,
               (select count(*)
                  from pgq.failed_queue f
                 where f.ev_owner in (select s.sub_id from pgq.subscription s where s.sub_queue = q.queue_id))
          from pgq.queue q
          left join lateral (
                   select t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_queue desc, t.tick_id desc
                    limit 1) newest on true
         cross join lateral (
                   select case when now() > q.queue_switch_time + q.queue_rotation_period
                               then now() - q.queue_switch_time - q.queue_rotation_period
                          end as overdue) due
         cross join lateral (
                   select count(*) as events,
                          case when min(r.ev_retry_after) < now() then now() - min(r.ev_retry_after) end as overdue
                     from pgq.retry_queue r
                    where r.ev_queue = q.queue_id) retry
         -- Asked of those alone: a condition of the join would ask of all.
         cross join lateral pgq._rotation_blocker(
                   case when due.overdue is not null or q.queue_switch_step2 is null then q.queue_id end) b
         where i_queue_name is null or q.queue_name = i_queue_name
         order by q.queue_name;
end;
-- Compiling the plan takes longer than running it.
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp set jit = off;
