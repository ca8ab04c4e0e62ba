//! The example programs, as they are built, against servers.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pgq::{QueueName, admin, maintenance};
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use testkit::{Cluster, Program, Running, TestResult, bin, wait_until};

const SOON: Duration = Duration::from_secs(120);

fn open(conninfo: &str) -> TestResult<Connection> {
    Ok(Connection::open("db", &ConnInfo::parse(conninfo)?)?)
}

/// A database with PgQ in it.
fn install(cluster: &Cluster, dbname: &str) -> TestResult<Connection> {
    drop(cluster.create_database(dbname)?);
    let mut db = open(&cluster.conninfo(dbname))?;
    let mut tx = db.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    Ok(db)
}

fn queue() -> QueueName {
    QueueName::from("orders")
}

/// Runs the producer on these lines.
fn produce(conninfo: &str, lines: impl IntoIterator<Item = String>) -> TestResult {
    let mut child = Command::new(bin("examples/producer"))
        .args(["--create", conninfo, "orders"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no input")?;
    for line in lines {
        writeln!(input, "{line}")?;
    }
    drop(input);
    let status = child.wait()?;
    assert!(status.success(), "{status}");
    Ok(())
}

fn example(name: &str, args: &[&str]) -> TestResult<Running> {
    let dir = std::env::temp_dir();
    Program::new(&format!("examples/{name}"), &dir)
        .args(args)
        .spawn()
}

/// Creates the queue, on which every call of the ticker ticks.
fn create_queue(db: &mut Connection, consumer: &str) -> TestResult {
    admin::create_queue(&mut **db, &queue())?;
    for setting in ["ticker_max_lag", "ticker_idle_period"] {
        admin::set_queue_config(&mut **db, &queue(), setting, Some("0"))?;
    }
    tick(db)?;
    admin::register_consumer(&mut **db, &queue(), &consumer.into())?;
    Ok(())
}

fn tick(db: &mut Connection) -> TestResult {
    admin::tick_queue(&mut **db, &queue())?;
    Ok(())
}

fn count(db: &mut Connection, sql: &str) -> TestResult<i64> {
    Ok(db.query_typed_one(sql, &[])?.get(0))
}

#[test]
fn the_producer_puts_each_line_into_the_queue() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster, "shop")?;
    let dir = tempfile::tempdir()?;
    let lines = dir.path().join("lines");
    std::fs::write(&lines, "one\n")?;
    let refused = Program::new("examples/producer", dir.path())
        .args([cluster.conninfo("shop").as_str(), "orders"])
        .input(&lines)?
        .output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        refused.stderr,
        "cannot insert the events: ERROR: No such queue\n"
    );
    produce(
        &cluster.conninfo("shop"),
        (0..2500).map(|n| format!("line {n}")),
    )?;
    let rows = db.query_typed(
        "select ev_type, ev_data from pgq.event_template order by ev_id",
        &[],
    )?;
    assert_eq!(rows.len(), 2500);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!((row.get(0), row.get(1)), ("line", format!("line {n}")));
    }
    Ok(())
}

#[test]
fn the_retrying_consumer_runs_a_failing_command_again_and_then_gives_the_event_up() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster, "shop")?;
    create_queue(&mut db, "mailer")?;
    admin::set_queue_config(&mut *db, &queue(), "max_retries", Some("2"))?;
    let dir = tempfile::tempdir()?;
    // Each attempt leaves a line; all but the bad ones succeed.
    let command = format!(
        "read -r line; echo \"$line\" >> {}; test \"$line\" != bad",
        dir.path().join("attempts").display()
    );
    let conninfo = cluster.conninfo("shop");
    let _consumer = example(
        "retrying_consumer",
        &[
            "--retry-after=0",
            &conninfo,
            "orders",
            "mailer",
            "--",
            "sh",
            "-c",
            &command,
        ],
    )?;
    produce(&conninfo, ["a", "bad", "b"].map(str::to_owned))?;
    let consumer = "mailer".into();
    wait_until("the event to be given up", SOON, || {
        maintenance::retry_events(&mut *db)?;
        tick(&mut db)?;
        Ok(pgq::failed::count(&mut *db, &queue(), &consumer)? == 1)
    })?;
    let attempts = std::fs::read_to_string(dir.path().join("attempts"))?;
    assert_eq!(attempts, "a\nbad\nb\nbad\nbad\n");
    let dead = pgq::failed::list(&mut *db, &queue(), &consumer, None)?;
    assert_eq!(dead[0].event.data, Some("bad".into()));
    assert_eq!(dead[0].reason.as_deref(), Some("sh: exit status: 1"));
    Ok(())
}

#[test]
fn the_exactly_once_consumer_loses_and_repeats_nothing_however_often_it_is_killed() -> TestResult {
    const EVENTS: i64 = 30_000;
    let (cluster, other) = (Cluster::start()?, Cluster::start()?);
    let (source, target) = (cluster.conninfo("shop"), other.conninfo("archive"));
    let mut src = install(&cluster, "shop")?;
    let mut dst = install(&other, "archive")?;
    dst.batch_execute("create table received (id bigint, at timestamptz, kind text, data text)")?;
    create_queue(&mut src, "copier")?;
    for part in 0..10 {
        let numbers = part * EVENTS / 10..(part + 1) * EVENTS / 10;
        produce(&source, numbers.map(|n| n.to_string()))?;
        tick(&mut src)?;
    }
    let args = [&*source, "orders", "copier", &*target];
    let received = "select count(*) from received";
    let mut killed_within_a_batch = 0;
    for kill in 1.. {
        let mut consumer = example("exactly_once", &args)?;
        if kill <= 4 {
            // Not when a batch has just been committed, but while the next one is applied.
            let before = count(&mut dst, received)?;
            wait_until("a batch to be applied", SOON, || {
                Ok(count(&mut dst, received)? > before)
            })?;
            wait_until("another one to be under way", SOON, || {
                let sql = "select count(*) from pg_stat_activity \
                           where query like 'insert into received%' and datname = 'archive'";
                Ok(count(&mut dst, sql)? > 0)
            })?;
            consumer.kill()?;
            let info = admin::consumer_info(&mut *src, Some(&queue()), None)?;
            killed_within_a_batch += i32::from(info[0].current_batch.is_some());
            continue;
        }
        wait_until("everything to arrive", SOON, || {
            Ok(count(&mut dst, received)? >= EVENTS)
        })?;
        break;
    }
    assert!(killed_within_a_batch > 0);
    let sql = "select count(distinct data) from received where data::int < 30000";
    assert_eq!(count(&mut dst, sql)?, EVENTS);
    assert_eq!(count(&mut dst, received)?, EVENTS);
    let out_of_order = "select count(*) from (select id - lag(id) over (order by ctid) as step \
                        from received) s where step <= 0";
    assert_eq!(count(&mut dst, out_of_order)?, 0);
    Ok(())
}

#[test]
fn cooperative_processes_share_the_work_and_take_over_from_a_dead_one() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster, "shop")?;
    db.batch_execute("create table done (member text, data text)")?;
    create_queue(&mut db, "resizer")?;
    let conninfo = cluster.conninfo("shop");
    let member = |name| {
        example(
            "cooperative",
            &["--timeout=1 second", &conninfo, "orders", "resizer", name],
        )
    };
    // The first one cannot go on with its batch.
    let mut tx = db.begin()?;
    tx.batch_execute("lock table done")?;
    let mut other = open(&conninfo)?;
    let mut one = member("one")?;
    wait_until("the member to register", SOON, || {
        Ok(admin::consumer_info(&mut *other, Some(&queue()), None)?.len() == 2)
    })?;
    produce(&conninfo, (0..100).map(|n| n.to_string()))?;
    tick(&mut other)?;
    wait_until("the batch to be taken", SOON, || {
        let info = admin::consumer_info(&mut *other, Some(&queue()), None)?;
        Ok(info.iter().any(|row| row.current_batch.is_some()))
    })?;
    one.kill()?;
    tx.commit()?;
    let _two = member("two")?;
    let _three = member("three")?;
    for _ in 0..10 {
        produce(&conninfo, (0..100).map(|n| n.to_string()))?;
        tick(&mut other)?;
    }
    wait_until("all of the work to be done", SOON, || {
        Ok(count(&mut other, "select count(*) from done")? >= 1100)
    })?;
    assert_eq!(count(&mut other, "select count(*) from done")?, 1100);
    let rows = other.query_typed("select distinct member from done", &[])?;
    let members: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(!members.contains("one") && !members.is_empty());
    Ok(())
}

/// A captured table in a database with a queue, and the same table in another one.
fn captured(cluster: &Cluster, consumer: &str) -> TestResult<(Connection, Connection)> {
    let (mut src, mut dst) = (install(cluster, "shop")?, install(cluster, "dwh")?);
    create_queue(&mut src, consumer)?;
    let table = "create table item (id int primary key, name text)";
    dst.batch_execute(table)?;
    src.batch_execute(&format!(
        "{table}; create trigger log after insert or update or delete on item for each row
             execute function pgq.logutriga('orders')"
    ))?;
    Ok((src, dst))
}

/// What happens to the table.
const CHANGES: &str = "
    insert into item values (1, 'it''s'), (2, null), (3, 'gone');
    update item set name = 'a&b' where id = 2;
    delete from item where id = 3;
    select pgq.insert_event('orders', 'other', 'no row')";

#[test]
fn the_simple_consumer_runs_a_statement_for_each_changed_row() -> TestResult {
    let cluster = Cluster::start()?;
    let (mut src, mut dst) = captured(&cluster, "noter")?;
    dst.batch_execute("create table notes (id bigint, event int, what text, name text)")?;
    let _consumer = example(
        "simple_consumer",
        &[
            &cluster.conninfo("shop"),
            "orders",
            "noter",
            &cluster.conninfo("dwh"),
            "insert into notes values (%(id)s, %(pgq.ev_id)s, left(%(pgq.ev_type)s, 1) || '%%', %(name)s)",
        ],
    )?;
    src.batch_execute(CHANGES)?;
    tick(&mut src)?;
    wait_until("the notes to be there", SOON, || {
        Ok(count(&mut dst, "select count(*) from notes")? == 5)
    })?;
    let rows = dst.query_typed("select n::text from notes n order by event", &[])?;
    let rows: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "(1,1,I%,it's)",
            "(2,2,I%,)",
            "(3,3,I%,gone)",
            "(2,4,U%,a&b)",
            "(3,5,D%,gone)"
        ]
    );
    Ok(())
}

#[test]
fn the_queue_loader_applies_changed_rows_with_all_that_a_mover_can() -> TestResult {
    let cluster = Cluster::start()?;
    let (mut src, mut dst) = captured(&cluster, "loader")?;
    dst.batch_execute("create schema stage; alter table item set schema stage")?;
    let dir = tempfile::tempdir()?;
    let sample = Program::new("examples/queue_loader", dir.path())
        .args(["--ini"])
        .succeed()?
        .stdout;
    let config = sample
        .replace("dbname=shop", &cluster.conninfo("shop"))
        .replace("dbname=dwh", &cluster.conninfo("dwh"))
        .replace("shop.rows", "orders")
        .replace(
            "#tables = public.orders:stage.orders",
            "tables = public.item:stage.item",
        );
    std::fs::write(dir.path().join("loader.ini"), config)?;
    src.batch_execute(CHANGES)?;
    tick(&mut src)?;
    let run = |option: &str| {
        Program::new("examples/queue_loader", dir.path())
            .args(["-q", "loader.ini", option])
            .succeed()
    };
    let shown = run("--dry-run")?.stdout;
    assert!(
        shown.ends_with("stage.item: 3 inserted, 1 updated, 1 deleted\nother events: 0 inserted, 0 updated, 0 deleted, 1 skipped\n"),
        "{shown}"
    );
    assert_eq!(count(&mut dst, "select count(*) from stage.item")?, 0);
    run("--once")?;
    let rows = dst.query_typed("select i::text from stage.item i order by id", &[])?;
    let rows: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, ["(1,it's)", "(2,a&b)"]);
    Ok(())
}

#[test]
fn examples_say_how_to_be_used() -> TestResult {
    for name in [
        "producer",
        "retrying_consumer",
        "exactly_once",
        "cooperative",
        "simple_consumer",
        "queue_loader",
    ] {
        let help = Program::new(&format!("examples/{name}"), Path::new("/"))
            .args(["--help"])
            .succeed()?;
        assert!(help.stdout.contains("Usage:"), "{name}");
    }
    Ok(())
}
