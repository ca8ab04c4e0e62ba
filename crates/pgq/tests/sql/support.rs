//! A server with PgQ, and statements as text: rows come back as lines of `a|b`, a null as `NULL`.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgq::schema::SCRIPTS;
use postgres::{Client, SimpleQueryMessage};
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use testkit::{Cluster, TestResult, wait_until};

/// Installs PgQ from the scripts, whatever is there already.
pub(crate) fn run_scripts(db: &mut Client) -> TestResult {
    run(
        db,
        &[
            "txid/install.sql",
            "pgq/install.sql",
            "pgq_ext/install.sql",
            "pgq_coop/install.sql",
        ],
    )
}

/// A connection of ours.
pub(crate) fn open(conninfo: &str) -> TestResult<Connection> {
    Ok(Connection::open("db", &ConnInfo::parse(conninfo)?)?)
}

/// Runs scripts in one transaction.
pub(crate) fn run(db: &mut Client, scripts: &[&str]) -> TestResult {
    let mut tx = db.transaction()?;
    for script in scripts {
        SCRIPTS.run(&mut tx, script)?;
    }
    tx.commit()?;
    Ok(())
}

/// A cluster with PgQ in the database `postgres`.
pub(crate) fn cluster() -> TestResult<(Cluster, Client)> {
    let cluster = Cluster::start()?;
    let db = install(&cluster)?;
    Ok((cluster, db))
}

/// Installs PgQ in the database `postgres`.
pub(crate) fn install(cluster: &Cluster) -> TestResult<Client> {
    let mut db = cluster.connect("postgres")?;
    run_scripts(&mut db)?;
    Ok(db)
}

/// A cluster with the queue `q`, which ticks at every call of the ticker, and the consumer `c`.
pub(crate) fn cluster_with_consumer() -> TestResult<(Cluster, Client)> {
    let (cluster, mut db) = cluster()?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    Ok((cluster, db))
}

/// Creates a queue that ticks at every call of the ticker.
pub(crate) fn eager_queue(db: &mut Client, name: &str) -> TestResult {
    db.batch_execute(&format!(
        "select pgq.create_queue('{name}'); \
         select pgq.set_queue_config('{name}', p, '0') \
           from unnest(array['ticker_max_lag', 'ticker_idle_period']) p"
    ))?;
    Ok(())
}

/// The rows of the last statement that returns any.
pub(crate) fn rows(db: &mut Client, sql: &str) -> TestResult<Vec<String>> {
    let mut lines = Vec::new();
    for message in db
        .simple_query(sql)
        .map_err(|error| format!("{sql}: {}", message_of(&error)))?
    {
        match message {
            SimpleQueryMessage::RowDescription(_) => lines.clear(),
            SimpleQueryMessage::Row(row) => {
                let fields: Vec<&str> = (0..row.len())
                    .map(|i| row.get(i).unwrap_or("NULL"))
                    .collect();
                lines.push(fields.join("|"));
            }
            _ => {}
        }
    }
    Ok(lines)
}

/// The one row of the last statement that returns any.
pub(crate) fn row(db: &mut Client, sql: &str) -> TestResult<String> {
    let mut lines = rows(db, sql)?;
    match (lines.pop(), lines.is_empty()) {
        (Some(line), true) => Ok(line),
        (last, _) => Err(format!("{sql}: not one row: {lines:?} {last:?}").into()),
    }
}

/// The message with which the server refuses a statement.
pub(crate) fn refusal(db: &mut Client, sql: &str) -> TestResult<String> {
    match db.simple_query(sql) {
        Ok(_) => Err(format!("accepted: {sql}").into()),
        Err(error) => Ok(message_of(&error)),
    }
}

fn message_of(error: &postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Ticks the queue `q`, which must be willing.
pub(crate) fn tick(db: &mut Client) -> TestResult {
    match row(db, "select pgq.ticker('q')")?.as_str() {
        "NULL" => Err("the queue did not tick".into()),
        _ => Ok(()),
    }
}

/// Inserts an event into the queue `q`, with this `ev_data`.
pub(crate) fn insert(db: &mut Client, data: &str) -> TestResult {
    db.batch_execute(&format!("select pgq.insert_event('q', 'type', '{data}')"))?;
    Ok(())
}

/// Takes the next batch of a consumer of `q`, returns its `ev_data`, and finishes it; `None` if there
/// is no batch.
pub(crate) fn consume_as(db: &mut Client, consumer: &str) -> TestResult<Option<Vec<String>>> {
    let batch = row(db, &format!("select pgq.next_batch('q', '{consumer}')"))?;
    if batch == "NULL" {
        return Ok(None);
    }
    let data = rows(
        db,
        &format!("select ev_data from pgq.get_batch_events({batch})"),
    )?;
    assert_eq!(row(db, &format!("select pgq.finish_batch({batch})"))?, "1");
    Ok(Some(data))
}

/// As [`consume_as`], for the consumer `c`.
pub(crate) fn consume(db: &mut Client) -> TestResult<Option<Vec<String>>> {
    consume_as(db, "c")
}

/// Ticks and consumes: what became visible since the last call.
pub(crate) fn arrived(db: &mut Client) -> TestResult<Vec<String>> {
    tick(db)?;
    Ok(consume(db)?.ok_or("no batch after a tick")?)
}

/// Backend of a connection.
pub(crate) fn pid(db: &mut Client) -> TestResult<String> {
    row(db, "select pg_backend_pid()")
}

/// Waits until a backend waits for a lock.
pub(crate) fn wait_for_lock(db: &mut Client, pid: &str) -> TestResult {
    let sql = format!("select wait_event_type = 'Lock' from pg_stat_activity where pid = {pid}");
    wait_until(
        "the other session to wait for a lock",
        Duration::from_secs(30),
        || Ok(row(db, &sql)? == "t"),
    )
}

/// Whether the server came with a program. Some packages hold the server alone; a test that needs
/// more says so and ends.
#[expect(clippy::print_stderr, reason = "the reader of the results has to know")]
pub(crate) fn has_program(cluster: &Cluster, program: &str) -> bool {
    let present = cluster.bindir().join(program).exists();
    if !present {
        eprintln!(
            "skipped: PostgreSQL {} came without {program}",
            cluster.major()
        );
    }
    present
}

/// Whether the server has the extension of PgQ 3, with its libraries in C. Not every machine does; a test
/// that needs it says so and ends.
#[expect(clippy::print_stderr, reason = "the reader of the results has to know")]
pub(crate) fn has_c_library(cluster: &Cluster) -> bool {
    let present = cluster.connect("postgres").is_ok_and(|mut db| {
        row(
            &mut db,
            "select exists (select from pg_available_extension_versions where name = 'pgq' and version = '3.5')",
        )
        .is_ok_and(|there| there == "t")
    });
    if !present {
        eprintln!(
            "skipped: PostgreSQL {} has no extension pgq of PgQ 3",
            cluster.major()
        );
    }
    present
}

/// A cluster that only has the roles of PgQ.
pub(crate) fn cluster_without_pgq() -> TestResult<Cluster> {
    let (cluster, mut db) = cluster()?;
    db.batch_execute("drop schema pgq, pgq_gen, pgq_ext, pgq_coop cascade")?;
    Ok(cluster)
}

/// Restores a dump of the database `postgres` of one cluster in another.
pub(crate) fn copy_database(from: &Cluster, to: &Cluster) -> TestResult {
    let dump = succeed(
        from.command("pg_dump")
            .arg(format!("--dbname={}", from.conninfo("postgres"))),
    )?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), dump)?;
    succeed(
        Command::new(to.bindir().join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(file.path())
            .arg(to.conninfo("postgres")),
    )?;
    Ok(())
}

/// Runs a program that must succeed; returns what it wrote.
pub(crate) fn succeed(command: &mut Command) -> TestResult<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Connects to the database `postgres` as a role, and collects the messages above the level of notices.
pub(crate) fn connect_and_hear(cluster: &Cluster, role: &str) -> TestResult<(Client, Heard)> {
    let heard = Heard::default();
    let messages = Arc::clone(&heard.0);
    let mut config: postgres::Config = cluster.conninfo("postgres").parse()?;
    config.user(role).notice_callback(move |notice| {
        if notice.severity() != "NOTICE" {
            let message = notice.message().to_owned();
            messages.lock().expect("nobody panics").push(message);
        }
    });
    Ok((config.connect(postgres::NoTls)?, heard))
}

/// What a server told a session.
#[derive(Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// The messages since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics"))
    }
}

/// Connects to the database `postgres` as another role.
pub(crate) fn connect_as(cluster: &Cluster, role: &str) -> TestResult<Client> {
    let conninfo = cluster
        .conninfo("postgres")
        .replace("user=postgres", &format!("user={role}"));
    Ok(Client::connect(&conninfo, postgres::NoTls)?)
}
