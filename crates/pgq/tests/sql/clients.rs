//! What clients that were written for the older generations type, word for word.

use std::path::Path;
use std::time::Duration;

use postgres::types::Type;
use testkit::{Program, TestResult, wait_until};

use crate::support::{cluster, cluster_with_consumer, eager_queue, row, rows, run_scripts};

/// Runs statements and compares what each answers; rows are joined by blanks.
fn converse(db: &mut postgres::Client, conversation: &[(&str, &str)]) -> TestResult {
    for (statement, answer) in conversation {
        assert_eq!(rows(db, statement)?.join(" "), *answer, "{statement}");
    }
    Ok(())
}

/// Administration, the ticker and the maintenance of version 2, which decide themselves when to tick.
#[test]
fn the_daemon_of_version_2_types_this() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    converse(
        &mut db,
        &[
            (
                "select count(*) from pg_catalog.pg_namespace where nspname = 'pgq'",
                "1",
            ),
            (
                "select count(*) from pg_catalog.pg_proc p, pg_catalog.pg_namespace n \
                 where n.oid = p.pronamespace and n.nspname = 'pgq' and p.proname = 'maint_retry_events' and pronargs = 0",
                "1",
            ),
            ("select pgq.create_queue('q')", "1"),
            ("select pgq.create_queue('q')", "0"),
            (
                "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0', \
                 queue_rotation_period = '0' where queue_name = 'q'",
                "",
            ),
            (
                "select queue_name, queue_event_seq, extract('epoch' from queue_ticker_max_lag)::int as max_lag, \
                 queue_ticker_max_count from pgq.queue where not queue_external_ticker",
                "q|pgq.event_1_id_seq|0|500",
            ),
            (
                "select (select last_value from pgq.event_1_id_seq) as q1",
                "1",
            ),
            ("select pgq.ticker('q')", "2"),
            (
                "select txid_current_snapshot()::text ~ '^[0-9]+:[0-9]+:[0-9,]*$'",
                "t",
            ),
            ("select queue_name from pgq.get_queue_info()", "q"),
            ("select count(1) from pgq.get_queue_info('q')", "1"),
            ("select count(1) from pgq.get_queue_info('nowhere')", "0"),
            (
                "select f.queue_name, q.queue_id from pgq.get_queue_info() f, pgq.queue q where q.queue_name = f.queue_name",
                "q|1",
            ),
            (
                "select x >= 0 from (select extract(epoch from ticker_lag) from pgq.get_queue_info('q')) s (x)",
                "t",
            ),
            ("set maintenance_work_mem = 131072", ""),
            ("select pgq.maint_rotate_tables_step1('q')", "0"),
            ("select pgq.maint_rotate_tables_step2()", "0"),
            ("select queue_cur_table from pgq.queue", "1"),
            ("select pgq.maint_retry_events()", "0"),
            ("select * from pgq.maint_tables_to_vacuum()", ""),
            // A queue that is fed with ticks of another database.
            ("select pgq.create_queue('copy')", "1"),
            (
                "update pgq.queue set queue_external_ticker = true where queue_name = 'copy'",
                "",
            ),
            ("select pgq.ticker('copy', 77)", "77"),
            ("select pgq.force_tick('copy')", "77"),
            ("select pgq.drop_queue('copy')", "1"),
        ],
    )
}

/// A consumer of version 2, as `pgq.Consumer` and the consumers that copy into another database are.
#[test]
fn the_consumers_of_version_2_type_this() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    converse(
        &mut db,
        &[
            (
                "select pgq.insert_event('q', 't', 'one', null, null, null, null)",
                "1",
            ),
            ("select pgq.current_event_table('q')", "pgq.event_1_0"),
            (
                "insert into pgq.event_1_0 (ev_time, ev_type, ev_data) values (now(), 't', 'two')",
                "",
            ),
            ("select pgq.ticker('q')", "2"),
            ("select pgq.next_batch('q', 'c')", "1"),
            (
                "select queue_name, consumer_name, batch_start < batch_end, prev_tick_id, tick_id, lag >= '0' from \
                 (select queue_name, consumer_name, batch_start, batch_end, prev_tick_id, tick_id, lag \
                    from pgq.get_batch_info(1)) i",
                "q|c|t|1|2|t",
            ),
            (
                "select ev_id, ev_type, ev_data, ev_extra1 from (select * from pgq.get_batch_events(1)) e",
                "1|t|one|NULL 2|t|two|NULL",
            ),
        ],
    )?;
    let sql = row(&mut db, "select pgq.batch_event_sql(1)")?;
    let first = rows(&mut db, &sql)?.remove(0);
    converse(
        &mut db,
        &[
            (
                &format!("begin; declare batch_walker no scroll cursor for {sql}"),
                "",
            ),
            ("fetch 1 from batch_walker", &first),
        ],
    )?;
    assert!(row(&mut db, "fetch 100 from batch_walker")?.contains("|two|"));
    converse(
        &mut db,
        &[
            ("close batch_walker; commit", ""),
            ("select pgq.event_failed(1, 1, 'no reason')", "1"),
            ("select pgq.event_retry(1, 2, 0)", "1"),
            (
                "select pgq_ext.is_batch_done('c', 1), pgq_ext.set_batch_done('c', 1), pgq_ext.is_batch_done('c', 1)",
                "f|t|t",
            ),
            (
                "select pgq_ext.get_last_tick('c'), pgq_ext.set_last_tick('c', 2), pgq_ext.get_last_tick('c')",
                "NULL|1|2",
            ),
            (
                "select pgq_ext.set_last_tick('c', null), pgq_ext.get_last_tick('c')",
                "1|NULL",
            ),
            ("select pgq.finish_batch(1)", "1"),
            ("select pgq.next_batch('q', 'c')", "NULL"),
            (
                "select x >= 0 from (select extract(epoch from lag) from pgq.get_consumer_info('q', 'c')) s (x)",
                "t",
            ),
            (
                "select now() - lag > timestamp '2000-01-01' from pgq.get_consumer_info('q', 'c')",
                "t",
            ),
            ("select pgq.register_consumer_at('q', 'c', 1)", "0"),
            ("select pgq.unregister_consumer('q', 'c')", "1"),
            ("create table t (id int primary key, note text)", ""),
            (
                "create trigger t_logger after insert or update or delete on t for each row execute procedure pgq.logtriga('q', 'kv', 'public.t')",
                "",
            ),
            ("insert into t values (1, 'a')", ""),
            (
                "select ev_type, ev_data, ev_extra1 from pgq.event_template where ev_extra1 is not null",
                "I|(id,note) values ('1','a')|public.t",
            ),
        ],
    )
}

/// What drivers in other languages, monitors and the programs of version 3 type beside that.
#[test]
fn drivers_and_monitors_type_this() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    converse(
        &mut db,
        &[
            // No batch: one row of nulls.
            (
                "select n.n, i.tick_id from pgq.next_batch('q', 'c') n, pgq.get_batch_info(n.n) i",
                "NULL|NULL",
            ),
            (
                "select split_part(i::text, ',', 1) from (select pgq.get_queue_info()) s (i)",
                "(q",
            ),
            (
                "select pgq.insert_event('q', 't', d) from unnest(array['a', 'b', 'c']) d",
                "1 2 3",
            ),
            ("select pgq.ticker('q')", "2"),
            ("select next_batch from pgq.next_batch('q', 'c')", "1"),
        ],
    )?;
    // An id of 32 bits; a parameter whose type decides which function it is.
    let events = db.query("select ev_data from pgq.get_batch_events($1::int)", &[&1])?;
    assert_eq!(events.len(), 3);
    for kind in ["int", "timestamptz"] {
        let sql = format!("select pgq.event_retry($1, $2, $3::{kind})");
        let statement = db.prepare(&sql)?;
        assert_eq!(statement.columns()[0].type_(), &Type::INT4, "{sql}");
    }
    let fields = "(1,\"#\",#,,t,a,,,,)";
    let text = row(
        &mut db,
        "select regexp_replace(regexp_replace(e::text, '\"[^\"]+\",[0-9]+', '\"#\",#'), '\\s', '') \
                     from (select pgq.get_batch_events(1)) s (e) limit 1",
    )?;
    assert_eq!(text, fields);
    converse(
        &mut db,
        &[
            (
                "select pgq.event_failed(1, ev_id, 'bad ' || ev_data) from pgq.get_batch_events(1)",
                "1 1 1",
            ),
            ("select pgq.finish_batch(1)", "1"),
            ("select pgq.failed_event_count('q', 'c')", "3"),
            (
                "select ev_data, ev_failed_reason from pgq.failed_event_list('q', 'c', 1, 1)",
                "b|bad b",
            ),
            (
                "select q.queue_name, c.co_name, f.ev_id from pgq.failed_queue f, pgq.subscription s, pgq.queue q, pgq.consumer c \
                 where s.sub_id = f.ev_owner and q.queue_id = s.sub_queue and c.co_id = s.sub_consumer order by 3",
                "q|c|1 q|c|2 q|c|3",
            ),
            (
                "select pgq.failed_event_retry('q', 'c', 1), pgq.failed_event_delete('q', 'c', 2)",
                "1|1",
            ),
            (
                "select pgq_ext.set_event_done('c', 1, id) from unnest(array[1, 2, 1]::bigint[]) id",
                "t t f",
            ),
            (
                "select pgq_ext.is_event_done('c', 1, 2), pgq_ext.is_event_done('c', 1, 3)",
                "t|f",
            ),
            (
                "select last_tick, pending_events from pgq.get_consumer_info('q', 'c')",
                "2|0",
            ),
            // A node that takes another one over deletes what came after a tick.
            (
                "with gone as (delete from pgq.event_1_0 where ev_txid >= 3 and not txid_visible_in_snapshot(ev_txid, \
                 (select tick_snapshot from pgq.tick where tick_id = 2)) returning ev_id) select * from gone",
                "1",
            ),
            (
                "with gone as (delete from pgq.tick where tick_queue = 1 and tick_id > 2 returning 1) select count(*) from gone",
                "0",
            ),
            ("select pgq.drop_queue('q', true)", "1"),
        ],
    )
}

/// The daemon of version 3, where it is installed: it ticks, retries and rotates, and finds nothing to
/// complain of.
#[test]
fn the_daemon_of_version_3_runs_our_schema() -> TestResult {
    let daemon = Path::new("/usr/bin/pgqd");
    if !daemon.exists() {
        eprintln!("skipped: there is no {}", daemon.display());
        return Ok(());
    }
    let (cluster, _) = cluster()?;
    let mut db = cluster.create_database("site")?;
    run_scripts(&mut db)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute(
        "select pgq.register_consumer('q', 'c'), pgq.insert_event('q', 't', 'again');
         select pgq.set_queue_config('q', 'rotation_period', '0')",
    )?;
    let dir = tempfile::tempdir()?;
    cluster.owner().give(dir.path())?;
    let (ini, log) = (dir.path().join("d.ini"), dir.path().join("d.log"));
    std::fs::write(
        &ini,
        format!(
            "[pgqd]\nbase_connstr = {}\ndatabase_list = site\nticker_period = 0.1\nretry_period = 0.2\n\
             maint_period = 0.2\nlogfile = {}\npidfile = {}\n",
            cluster.conninfo("site").replace("dbname=site", ""),
            log.display(),
            dir.path().join("d.pid").display(),
        ),
    )?;
    let _daemon = Program::at(daemon, dir.path())
        .owned_by(cluster.owner())
        .args([&ini])
        .spawn()?;
    let wait = |what: &str, condition: &mut dyn FnMut() -> TestResult<bool>| {
        wait_until(what, Duration::from_secs(60), condition)
    };
    let mut batch = String::new();
    wait("a batch", &mut || {
        batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        Ok(batch != "NULL" && {
            let retried = rows(
                &mut db,
                &format!(
                    "select pgq.event_retry({batch}, ev_id, 0) from pgq.get_batch_events({batch})"
                ),
            )?;
            row(&mut db, &format!("select pgq.finish_batch({batch})"))?;
            !retried.is_empty()
        })
    })?;
    wait("the event to come again", &mut || {
        batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        Ok(batch != "NULL" && {
            let seen = rows(
                &mut db,
                &format!("select ev_retry from pgq.get_batch_events({batch})"),
            )?;
            row(&mut db, &format!("select pgq.finish_batch({batch})"))?;
            seen == ["1"]
        })
    })?;
    let mut tables = std::collections::HashSet::new();
    wait("all tables to have had their turn", &mut || {
        let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        if batch != "NULL" {
            row(&mut db, &format!("select pgq.finish_batch({batch})"))?;
        }
        tables.insert(row(&mut db, "select queue_cur_table from pgq.queue")?);
        Ok(tables.len() == 3)
    })?;
    let log = std::fs::read_to_string(log)?;
    assert!(log.contains("pgq version ok: 3."), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    Ok(())
}
