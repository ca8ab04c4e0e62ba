//! A server with PgQ, a queue that ticks whenever asked, and a consumer on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgq::batch::{self, Batch, Event};
use pgq::consumer::{ConsumerConfig, LockLevel};
use pgq::{ConsumerName, QueueName, admin};
use postgres::types::Type;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Stop};
use skytools::db::{Connection, Database, During, Tx};
use skytools::stats::Stats;
use testkit::{Cluster, TestResult};
use tracing_subscriber::layer::{self, Layer, SubscriberExt};

pub(crate) fn queue() -> QueueName {
    QueueName::from("Test \"queue\"")
}

pub(crate) fn consumer() -> ConsumerName {
    ConsumerName::from("it's a consumer")
}

pub(crate) fn open(conninfo: &str) -> TestResult<Connection> {
    Ok(Connection::open("db", &ConnInfo::parse(conninfo)?)?)
}

pub(crate) fn database(conninfo: &str) -> TestResult<Database> {
    Ok(Database::new(
        "db",
        ConnInfo::parse(conninfo)?,
        Duration::ZERO,
    ))
}

/// Creates a database with PgQ in it.
pub(crate) fn install(cluster: &Cluster, dbname: &str) -> TestResult<Connection> {
    drop(cluster.create_database(dbname)?);
    let mut db = open(&cluster.conninfo(dbname))?;
    let mut tx = db.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    Ok(db)
}

/// Creates a database with a queue on which every call of the ticker ticks.
pub(crate) fn with_queue(cluster: &Cluster, dbname: &str) -> TestResult<Connection> {
    let mut db = install(cluster, dbname)?;
    admin::create_queue(&mut *db, &queue())?;
    for setting in ["ticker_max_lag", "ticker_idle_period"] {
        admin::set_queue_config(&mut *db, &queue(), setting, Some("0"))?;
    }
    Ok(db)
}

/// As [`with_queue`], with the consumer registered.
pub(crate) fn with_consumer(cluster: &Cluster, dbname: &str) -> TestResult<Connection> {
    let mut db = with_queue(cluster, dbname)?;
    admin::register_consumer(&mut *db, &queue(), &consumer())?;
    Ok(db)
}

/// Puts events in, each in a transaction of its own, and ticks.
pub(crate) fn produce(db: &mut Connection, data: &[&str]) -> TestResult {
    for text in data {
        let event = pgq::producer::NewEvent::new("kind", *text);
        pgq::producer::insert_event(&mut **db, &queue(), &event)?;
    }
    tick(db)
}

pub(crate) fn tick(db: &mut Connection) -> TestResult {
    admin::tick_queue(&mut **db, &queue())?.ok_or("the queue did not tick")?;
    Ok(())
}

/// The next batch, which must be there.
pub(crate) fn next(db: &mut Connection) -> TestResult<Batch> {
    Ok(batch::next_batch(&mut **db, &queue(), &consumer())?.ok_or("no batch")?)
}

pub(crate) fn data(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| {
        let data = event.data.as_ref().expect("test events have data");
        data.to_string_lossy().into_owned()
    };
    events.iter().map(text).collect()
}

pub(crate) fn context() -> Context {
    Context {
        stop: Stop::default(),
        stats: Stats::default(),
    }
}

/// The test consumer's settings, with fetches smaller than most batches.
pub(crate) fn config(lock: LockLevel) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(queue(), consumer());
    config.lazy_fetch = 2;
    config.lock = lock;
    config
}

/// Applies an event: a row in `applied`.
pub(crate) fn apply(tx: &mut Tx<'_>, event: &Event) -> Result<(), pgq::Error> {
    tx.execute_typed(
        "insert into applied values ($1)",
        &[(&event.data, Type::TEXT)],
    )
    .during("apply an event")?;
    Ok(())
}

/// What was applied, in order.
pub(crate) fn applied(db: &mut Connection) -> TestResult<Vec<String>> {
    let rows = db.query_typed("select data from applied order by ctid", &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub(crate) fn count(db: &mut Connection, table: &str) -> TestResult<i64> {
    let row = db.query_typed_one(&format!("select count(*) from {table}"), &[])?;
    Ok(row.get(0))
}

/// Ends all other sessions of the database.
pub(crate) fn terminate_others(db: &mut Connection) -> Result<(), pgq::Error> {
    db.query_typed(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()",
        &[],
    )
    .during("end other sessions")?;
    Ok(())
}

/// What is logged while something runs, a line each: level and message.
pub(crate) fn logged(run: impl FnOnce() -> TestResult) -> TestResult<Vec<String>> {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    tracing::subscriber::with_default(subscriber, run)?;
    Ok(log.0.lock().expect("not poisoned").clone())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("pgq") {
            return;
        }
        let mut line = metadata.level().to_string();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                if field.name() == "message" {
                    line.push_str(&format!(" {value:?}"));
                }
            },
        );
        self.0.lock().expect("not poisoned").push(line);
    }
}
