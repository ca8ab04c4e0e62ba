//! Transactions and connections that tell the truth, whatever goes wrong.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, DbError, During, Isolation, Session, Text, Tx};
use testkit::{Cluster, Shutdown, TestResult, wait_until};

fn open(cluster: &Cluster) -> TestResult<Connection> {
    let conninfo = ConnInfo::parse(&cluster.conninfo("postgres"))?;
    Ok(Connection::open("test_db", &conninfo)?)
}

fn count(db: &mut Session<'_>) -> i64 {
    db.query_typed_one("select count(*) from t", &[])
        .expect("counted")
        .get(0)
}

fn table(cluster: &Cluster) -> TestResult<Connection> {
    let mut db = open(cluster)?;
    db.batch_execute("create table t (id int primary key, data text)")?;
    Ok(db)
}

#[test]
fn what_was_committed_stays_and_what_was_dropped_does_not() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (1)")?;
    tx.commit()?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (2)")?;
    tx.rollback()?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (3)")?;
    drop(tx);
    db.begin()?.commit()?;
    assert_eq!(count(&mut *open(&cluster)?), 1);
    Ok(())
}

#[test]
fn committing_a_failed_transaction_is_an_error_even_if_the_failure_was_swallowed() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (1)")?;
    let _swallowed = tx.batch_execute("insert into t values (1)");
    let error = tx.commit().expect_err("nothing was committed");
    assert_eq!(
        error.sql_state(),
        Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    );
    assert_eq!(error.to_string(), "cannot commit on test_db");
    assert!(!error.is_connection_lost());
    assert!(db.is_open());
    assert_eq!(count(&mut db), 0);
    Ok(())
}

#[test]
fn a_deferred_constraint_fails_the_commit() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    db.batch_execute("alter table t add other int references t deferrable initially deferred")?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (1, '', 7)")?;
    let error = tx.commit().expect_err("7 is not there");
    assert_eq!(error.sql_state(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    assert!(
        error
            .reason()
            .starts_with("ERROR: insert or update on table \"t\"")
    );
    assert!(
        error
            .reason()
            .contains("\nDETAIL: Key (other)=(7) is not present")
    );
    db.begin()?.commit()?;
    assert_eq!(count(&mut db), 0);
    Ok(())
}

#[test]
fn a_lost_connection_is_told_from_a_refusal() -> TestResult {
    let mut cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    for (sql, lost) in [
        ("select 1/0", false),
        ("select from nowhere", false),
        ("select '\0'", false),
        ("set statement_timeout = 1; select pg_sleep(9)", false),
        ("select pg_terminate_backend(pg_backend_pid())", true),
    ] {
        let error = db.batch_execute(sql).during("try").expect_err(sql);
        assert_eq!(error.is_connection_lost(), lost, "{sql}: {error:?}");
        assert_eq!(db.batch_execute("select 1").is_ok(), !lost, "{sql}");
        assert_eq!(db.is_open(), !lost, "{sql}");
    }
    let mut db = open(&cluster)?;
    let mistaken = db
        .query_typed("select 1", &[])
        .and_then(|rows| Ok(rows[0].try_get::<_, String>(0)?));
    assert!(
        !mistaken
            .during("read")
            .expect_err("not text")
            .is_connection_lost()
    );

    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill] {
        let mut db = open(&cluster)?;
        let mut tx = db.begin()?;
        tx.batch_execute("insert into t values (1)")?;
        cluster.restart(how)?;
        let error = tx.commit().expect_err("the server went away");
        assert!(error.is_connection_lost(), "{how:?}: {error:?}");
        assert!(!db.is_open());
        assert_eq!(count(&mut *open(&cluster)?), 0);
    }
    Ok(())
}

#[test]
fn a_savepoint_undoes_what_failed_in_it_and_the_transaction_goes_on() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    let mut tx = db.begin()?;
    tx.batch_execute("insert into t values (1)")?;
    let failed: Result<(), DbError> = tx.savepoint(|tx: &mut Tx<'_>| {
        tx.batch_execute("insert into t values (2)")
            .during("insert")?;
        tx.batch_execute("insert into t values (1)")
            .during("insert again")
    });
    assert_eq!(
        failed.expect_err("a duplicate").to_string(),
        "cannot insert again"
    );
    let inner: Result<i64, DbError> = tx.savepoint(|tx| {
        let nested: Result<(), DbError> =
            tx.savepoint(|tx| tx.batch_execute("select 1/0").during("divide"));
        assert!(nested.is_err());
        tx.batch_execute("insert into t values (3)")
            .during("insert")?;
        Ok(count(tx))
    });
    assert_eq!(inner?, 2);
    tx.commit()?;
    assert_eq!(count(&mut db), 2);
    Ok(())
}

#[test]
fn isolation_is_as_asked() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    let mut other = open(&cluster)?;
    let mut id = 0;
    for (isolation, name, sees_later) in [
        (Isolation::ReadCommitted, "read committed", 1),
        (Isolation::RepeatableRead, "repeatable read", 0),
        (Isolation::Serializable, "serializable", 0),
    ] {
        other.batch_execute("set default_transaction_isolation = 'serializable'")?;
        let mut tx = db.begin_with(isolation)?;
        let row = tx.query_typed_one("select current_setting('transaction_isolation')", &[])?;
        assert_eq!(row.get::<_, String>(0), name);
        let before = count(&mut tx);
        id += 1;
        other.batch_execute(&format!("insert into t values ({id})"))?;
        assert_eq!(count(&mut tx) - before, sees_later, "{name}");
        tx.commit()?;
    }
    Ok(())
}

#[test]
fn a_copy_that_is_dropped_midway_leaves_nothing_and_a_usable_connection() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = table(&cluster)?;
    let mut tx = db.begin()?;
    let mut writer = tx.copy_in("copy t from stdin")?;
    for id in 0..10_000 {
        writer.write_all(format!("{id}\tdata\n").as_bytes())?;
    }
    drop(writer);
    assert!(tx.commit().is_err(), "the COPY failed");
    assert!(db.is_open());
    assert_eq!(count(&mut db), 0);
    Ok(())
}

/// Reading the rest of such a COPY would take minutes.
const ENDLESS: &str = "copy (select repeat('x', 1000), generate_series(1, 100000000)) to stdout";

#[test]
fn dropping_what_is_not_read_to_its_end_takes_little_time() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = open(&cluster)?;
    let start = Instant::now();
    let mut tx = db.begin()?;
    assert!(!tx.copy_out(ENDLESS)?.fill_buf()?.is_empty());
    drop(tx);
    assert!(
        db.is_open(),
        "the COPY was cancelled, and the transaction rolled back"
    );
    assert!(!db.copy_out(ENDLESS)?.fill_buf()?.is_empty());
    drop(db);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
    let mut watch = cluster.connect("postgres")?;
    wait_until(
        "the server to forget the sessions",
        Duration::from_secs(60),
        || {
            let row = watch.query_one(
                "select count(*) from pg_stat_activity
              where backend_type = 'client backend' and pid <> pg_backend_pid()",
                &[],
            )?;
            Ok(row.get::<_, i64>(0) == 0)
        },
    )
}

#[test]
fn dropping_a_connection_to_a_stopped_server_takes_little_time() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = open(&cluster)?;
    let pid: i32 = db.query_typed_one("select pg_backend_pid()", &[])?.get(0);
    assert!(!db.copy_out(ENDLESS)?.fill_buf()?.is_empty());
    let pid = rustix::process::Pid::from_raw(pid).ok_or("a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    let start = Instant::now();
    drop(db);
    let elapsed = start.elapsed();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    Ok(())
}

#[test]
fn a_statement_can_be_cancelled_from_another_thread() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = open(&cluster)?;
    let canceller = db.canceller();
    let mut watch = cluster.connect("postgres")?;
    let thread = std::thread::spawn(move || -> TestResult {
        wait_until("the sleep to begin", Duration::from_secs(60), || {
            let row = watch.query_one(
                "select exists (select from pg_stat_activity where wait_event = 'PgSleep')",
                &[],
            )?;
            Ok(row.get(0))
        })?;
        Ok(canceller.cancel()?)
    });
    let error = db
        .batch_execute("select pg_sleep(600)")
        .during("sleep")
        .expect_err("cancelled");
    thread.join().expect("no panic")?;
    assert_eq!(error.sql_state(), Some(&SqlState::QUERY_CANCELED));
    assert!(db.is_open());
    Ok(())
}

#[test]
fn text_of_any_bytes_comes_and_goes() -> TestResult {
    let cluster = Cluster::start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create database bytes encoding sql_ascii template template0 locale 'C'")?;
    let mut db = Connection::open("test_db", &ConnInfo::parse(&cluster.conninfo("bytes"))?)?;
    let sent = Text::from(b"caf\xe9 \\ \x01".to_vec());
    let row = db.query_typed_one(
        "select $1::text, 'name'::name",
        &[(&sent, postgres::types::Type::TEXT)],
    )?;
    assert_eq!(row.get::<_, Text>(0), sent);
    assert_eq!(row.get::<_, Text>(1), Text::from("name"));
    assert_eq!(sent.to_string_lossy(), "caf\u{fffd} \\ \u{1}");
    Ok(())
}
