//! PgQ 2: its client decides when a queue is ticked, and knows what maintenance there is.

use std::collections::HashMap;
use std::time::Duration;

use pgq::QueueName;
use pgq::maintenance::Operation;
use postgres::types::Type;
use skytools::db::{Connection, During};
use skytools::quote;

use super::decide::{Limits, Memory};
use super::session::clock;
use crate::Error;

/// What the ticker knows of the queues of one database.
#[derive(Default)]
pub(super) struct Older {
    queues: Vec<Queue>,
    /// State survives a new look at the list.
    memory: HashMap<QueueName, Memory>,
    /// When the list was read.
    read: Option<Duration>,
}

struct Queue {
    name: QueueName,
    sequence: String,
    limits: Limits,
}

impl Older {
    /// One pass: reads all event sequences, and ticks the queues that are due.
    pub(super) fn tick(&mut self, db: &mut Connection, refresh: Duration) -> Result<i64, Error> {
        let now = clock();
        if self
            .read
            .is_none_or(|read| now.saturating_sub(read) >= refresh)
        {
            self.queues = queues(db)?;
            self.read = Some(now);
            let names: Vec<&QueueName> = self.queues.iter().map(|queue| &queue.name).collect();
            self.memory.retain(|name, _| names.contains(&name));
        }
        let result = self.pass(db, now);
        if result.is_err() {
            // A queue may have been dropped.
            self.read = None;
        }
        result
    }

    fn pass(&mut self, db: &mut Connection, now: Duration) -> Result<i64, Error> {
        let mut ticks = 0;
        for (queue, value) in self.queues.iter().zip(sequences(db, &self.queues)?) {
            let memory = self.memory.entry(queue.name.clone()).or_default();
            if memory.is_due(&queue.limits, value, now) {
                tick(db, &queue.name)?;
                ticks += 1;
            }
        }
        Ok(ticks)
    }
}

/// Ticks every queue whose newest tick is older than its lag: what can be told without a history.
pub(super) fn tick_once(db: &mut Connection) -> Result<i64, Error> {
    let rows = db
        .query_typed(
            "select q.queue_name from pgq.queue q \
             where not q.queue_external_ticker \
             and not exists (select from pgq.tick t where t.tick_queue = q.queue_id \
             and t.tick_time > pg_catalog.now() - q.queue_ticker_max_lag \
             and t.tick_time <= pg_catalog.clock_timestamp()) order by 1",
            &[],
        )
        .during("look for queues that are due")?;
    for row in &rows {
        tick(db, &row.get(0))?;
    }
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

fn queues(db: &mut Connection) -> Result<Vec<Queue>, Error> {
    let rows = db
        .query_typed(
            "select queue_name, queue_event_seq, \
             extract(epoch from queue_ticker_idle_period)::float8, \
             extract(epoch from queue_ticker_max_lag)::float8, queue_ticker_max_count::int8 \
             from pgq.queue where not queue_external_ticker order by 1",
            &[],
        )
        .during("read the list of queues")?;
    let seconds = |value: Option<f64>| {
        Duration::try_from_secs_f64(value.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
    };
    let queue = |row: &postgres::Row| Queue {
        name: row.get(0),
        sequence: row.get(1),
        limits: Limits {
            idle_period: seconds(row.get(2)),
            max_lag: seconds(row.get(3)),
            max_count: row.get::<_, Option<i64>>(4).unwrap_or(i64::MAX),
        },
    };
    Ok(rows.iter().map(queue).collect())
}

/// The last value of each queue's event sequence, in one query.
fn sequences(db: &mut Connection, queues: &[Queue]) -> Result<Vec<i64>, Error> {
    if queues.is_empty() {
        return Ok(Vec::new());
    }
    let one = |(number, queue): (usize, &Queue)| {
        let sequence = quote::fqident(&queue.sequence);
        format!("select {number} as n, last_value from {sequence}")
    };
    let all: Vec<String> = queues.iter().enumerate().map(one).collect();
    let rows = db
        .query_typed(&format!("{} order by n", all.join(" union all ")), &[])
        .during("read the event sequences")?;
    Ok(rows.iter().map(|row| row.get(1)).collect())
}

fn tick(db: &mut Connection, queue: &QueueName) -> Result<(), Error> {
    db.query_typed("select pgq.ticker($1)", &[(queue, Type::TEXT)])
        .during("tick the queue")?;
    Ok(())
}

/// What `pgq.maint_operations` would answer.
pub(super) fn operations(db: &mut Connection) -> Result<Vec<Operation>, Error> {
    let per_queue = db
        .query_typed_one(
            "select pg_catalog.to_regprocedure('pgq.maint_rotate_tables_step1(text)') is not null",
            &[],
        )
        .during("look at the version of pgq")?;
    let mut operations = Vec::new();
    let mut add = |name: &str, argument: Option<String>| {
        operations.push(Operation {
            name: name.to_owned(),
            argument,
        });
    };
    let step1 = "pgq.maint_rotate_tables_step1";
    if per_queue.get(0) {
        let rows = db
            .query_typed("select queue_name from pgq.queue order by 1", &[])
            .during("read the list of queues")?;
        rows.iter().for_each(|row| add(step1, Some(row.get(0))));
    } else {
        add(step1, None);
    }
    add("pgq.maint_rotate_tables_step2", None);
    db.batch_execute("set maintenance_work_mem = 32768")
        .during("set the memory of vacuum")?;
    let rows = db
        .query_typed("select * from pgq.maint_tables_to_vacuum()", &[])
        .during("read the tables to vacuum")?;
    rows.iter().for_each(|row| add("vacuum", Some(row.get(0))));
    Ok(operations)
}
