//! Looks at both sides.

use std::collections::HashSet;

use pgq::admin::{ConsumerInfo, QueueInfo};
use pgq::{ConsumerName, QueueName, TickId, lock, position};
use postgres::types::Type;
use serde::Serialize;
use skytools::daemon::Job;
use skytools::db::{Database, During, Session};
use skytools::pidfile::{self, Status as PidStatus};
use skytools::table::{self, TableName};

use super::Status;
use super::problems::{self, Advice};
use crate::grants::{Work, explain_at};
use crate::replay::mirror;
use crate::replay::session::SCHEMA;
use crate::schema::{self, Side, may_call};
use crate::{Config, Error, registry};

/// The provider, as far as this job is concerned.
#[derive(Debug, Serialize)]
pub(super) struct Provider {
    pub(super) postgres_version: String,
    pub(super) londiste_version: Option<String>,
    /// `None`: the queue does not exist.
    pub(super) queue: Option<QueueInfo>,
    /// `None`: the consumer is not registered.
    pub(super) consumer: Option<ConsumerInfo>,
    /// Where the consumer was before the subscriber was looked at.
    #[serde(skip)]
    pub(super) tick_before: Option<TickId>,
    pub(super) published_tables: Vec<String>,
    pub(super) published_seqs: usize,
    /// Tables that are not captured as they should be: table, what is wrong.
    pub(super) bad_captures: Vec<(String, String)>,
    /// Of these, those that do not exist.
    #[serde(skip)]
    pub(super) absent_tables: HashSet<String>,
    #[serde(skip)]
    pub(super) queue_problems: Vec<pgq::health::Problem>,
}

/// The subscriber.
#[derive(Debug, Serialize)]
pub(super) struct Subscriber {
    pub(super) postgres_version: String,
    pub(super) londiste_version: Option<String>,
    /// The tick whose events are committed.
    pub(super) position: Option<TickId>,
    /// By its configuration a relay, and by its queue the root: it was promoted, or is a former root.
    pub(super) is_root: bool,
    /// A process serves the consumer.
    pub(super) replay_runs: bool,
    /// On this host.
    pub(super) replay_pid: Option<i32>,
    /// On this host.
    pub(super) copy_pids: Vec<i32>,
    pub(super) tables: Vec<Table>,
    pub(super) seqs: usize,
    /// Foreign keys between tables that are `ok`, and that could not come back yet.
    pub(super) pending_fkeys: Vec<String>,
    /// What processes fail with, or failed with last.
    pub(super) errors: Vec<JobError>,
}

/// A subscribed table.
#[derive(Debug, Serialize)]
pub(in super::super) struct Table {
    pub(in super::super) table: String,
    pub(in super::super) state: Option<String>,
    pub(super) snapshot: Option<String>,
    pub(super) state_age_seconds: Option<f64>,
    pub(in super::super) copy: Option<Copying>,
}

/// A copy at work.
#[derive(Debug, Serialize)]
pub(in super::super) struct Copying {
    pub(super) rows: i64,
    pub(super) bytes: i64,
    pub(super) seconds: Option<f64>,
    /// Estimate of the provider's statistics.
    pub(super) total_rows: Option<f64>,
    /// An index that is being built, after the rows.
    pub(super) building: Option<String>,
}

impl Copying {
    /// Rows per second.
    pub(super) fn rate(&self) -> Option<f64> {
        let seconds = self.seconds.filter(|&seconds| seconds > 0.0)?;
        #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
        Some(self.rows as f64 / seconds)
    }

    /// How long it will take, if the estimate is right.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
        let left = self.total_rows? - self.rows as f64;
        let rate = self.rate().filter(|&rate| rate > 0.0)?;
        (left > 0.0).then_some(left / rate)
    }
}

/// What a process fails with.
#[derive(Debug, Serialize)]
pub(super) struct JobError {
    pub(super) consumer: String,
    pub(super) table: Option<String>,
    pub(super) error: String,
    /// How long ago it began.
    pub(super) since_seconds: f64,
    pub(super) last_seconds: f64,
    pub(super) times: i64,
    /// How long ago it was over; `None`: it is not.
    pub(super) solved_seconds: Option<f64>,
}

/// The two databases.
pub(super) struct Source<'a> {
    job: &'a Job<Config>,
    queue: &'a QueueName,
    consumer: ConsumerName,
    provider: Database,
    subscriber: Database,
}

impl<'a> Source<'a> {
    pub(super) fn new(job: &'a Job<Config>) -> Result<Source<'a>, Error> {
        Ok(Source {
            job,
            queue: &job.config.pgq_queue_name,
            consumer: job.config.consumer(&job.common),
            provider: job.config.provider(&job.common)?,
            subscriber: job.config.subscriber(&job.common)?,
        })
    }

    /// Looks at both sides; what fails is part of the answer.
    pub(super) fn read(&mut self) -> Status {
        let mut provider = self.provider();
        if let Err(error) = provider {
            provider = Err(explain_at(
                error,
                &mut self.provider,
                Side::Provider,
                Work::Look,
            ));
        }
        let mut subscriber = self.subscriber();
        if let Err(error) = subscriber {
            subscriber = Err(explain_at(
                error,
                &mut self.subscriber,
                Side::Subscriber,
                Work::Look,
            ));
        }
        if let Ok(subscriber) = &mut subscriber {
            // Estimates are worth no failure.
            let _ = self.estimate(&mut subscriber.tables);
        }
        // Replay goes on while we look; positions seen at two moments look lost.
        let again = match &provider {
            Ok(provider) if provider.consumer.is_some() => Some(self.consumer_now()),
            _ => None,
        };
        match again {
            Some(Ok(consumer)) => {
                if let Ok(provider) = &mut provider {
                    provider.consumer = consumer;
                }
            }
            Some(Err(error)) => provider = Err(error),
            None => {}
        }
        if provider.is_err() {
            self.provider.reset();
        }
        if subscriber.is_err() {
            self.subscriber.reset();
        }
        let advice = Advice::new(self.job.settings.path());
        let problems = problems::find(
            &advice,
            &self.consumer,
            provider.as_ref(),
            subscriber.as_ref(),
        );
        Status {
            job: self.job.common.job_name.clone(),
            queue: self.queue.to_string(),
            consumer: self.consumer.to_string(),
            healthy: !Status::is_wrong(&problems),
            provider: provider.ok(),
            subscriber: subscriber.ok(),
            problems,
        }
    }

    fn provider(&mut self) -> Result<Provider, Error> {
        let db = self.provider.connection()?;
        schema::require(db, Side::Provider)?;
        let (postgres_version, londiste_version) = versions(db)?;
        let queue = pgq::admin::queue_info(&mut **db, Some(self.queue))?.pop();
        let consumer = match queue {
            Some(_) => self.consumer_now()?,
            None => None,
        };
        let db = self.provider.connection()?;
        let queue_problems = match may_call(db, "pgq.get_problems(text)")? {
            true => pgq::health::problems(&mut **db, Some(self.queue))?,
            false => Vec::new(),
        };
        let bad_captures: Vec<(String, String)> =
            match may_call(db, "londiste.provider_check(text)")? {
                true => db
                    .query_typed(
                        "select table_name, detail from londiste.provider_check($1)",
                        &[(self.queue, Type::TEXT)],
                    )
                    .during("look at the captures of the tables")?
                    .iter()
                    .map(|row| (row.get(0), row.get(1)))
                    .collect(),
                false => Vec::new(),
            };
        let mut absent_tables = HashSet::new();
        for (name, _) in &bad_captures {
            if !table::exists_table(&mut **db, &TableName::parse(name))? {
                absent_tables.insert(name.clone());
            }
        }
        Ok(Provider {
            postgres_version,
            londiste_version,
            queue,
            tick_before: consumer.as_ref().and_then(|info| info.last_tick),
            consumer,
            published_tables: registry::provider_tables(db, self.queue)?,
            published_seqs: registry::provider_seqs(db, self.queue)?.len(),
            bad_captures,
            absent_tables,
            queue_problems,
        })
    }

    fn consumer_now(&mut self) -> Result<Option<ConsumerInfo>, Error> {
        let db = self.provider.connection()?;
        let info = pgq::admin::consumer_info(&mut **db, Some(self.queue), Some(&self.consumer))?;
        Ok(info.into_iter().next())
    }

    fn subscriber(&mut self) -> Result<Subscriber, Error> {
        let replay_pid = match &self.job.common.pidfile {
            Some(path) => pid_of(path),
            None => None,
        };
        let copies = self.job.pidfiles(".copy");
        let copy_pids = copies.iter().filter_map(|path| pid_of(path)).collect();
        let db = self.subscriber.connection()?;
        schema::require(db, Side::Subscriber)?;
        let (postgres_version, londiste_version) = versions(db)?;
        let is_root = self.job.config.is_relay()
            && !mirror::is_relay(db, self.queue)?
            && mirror::is_root(db, self.queue)?;
        Ok(Subscriber {
            postgres_version,
            londiste_version,
            is_root,
            position: position::last_tick(&mut **db, SCHEMA, &self.consumer)?,
            replay_runs: lock::is_consumer_locked(&mut **db, SCHEMA, &self.consumer)?,
            replay_pid,
            copy_pids,
            tables: tables(db, self.queue)?,
            seqs: registry::subscriber_seqs(db, self.queue)?.len(),
            pending_fkeys: pending_fkeys(db, self.queue)?,
            errors: errors(db, &self.consumer)?,
        })
    }

    /// Asks the provider how many rows there are to copy.
    fn estimate(&mut self, tables: &mut [Table]) -> Result<(), Error> {
        for table in tables {
            let Some(copy) = table.copy.as_mut().filter(|copy| copy.total_rows.is_none()) else {
                continue;
            };
            let name = TableName::parse(&table.table);
            let rows = table::expected_rows(&mut **self.provider.connection()?, &name)?;
            #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
            let total = (rows > 0).then_some(rows as f64);
            copy.total_rows = total;
        }
        Ok(())
    }
}

/// Of the server, and of the functions of Londiste.
fn versions(db: &mut Session<'_>) -> Result<(String, Option<String>), Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.current_setting('server_version'), londiste.version()",
            &[],
        )
        .during("read the versions")?;
    Ok((row.get(0), row.get(1)))
}

/// The process named in a pidfile, if it runs.
fn pid_of(path: &std::path::Path) -> Option<i32> {
    match pidfile::status(path) {
        Ok(PidStatus::Running(pid)) => Some(pid.as_raw_pid()),
        _ => None,
    }
}

/// The subscribed tables of a queue, with what their copies have done.
pub(in super::super) fn tables(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Vec<Table>, Error> {
    // A column that older versions have not. What a copy does is seen by its own role; the name of
    // an index that it builds is seen by nobody else.
    let rows = db
        .query_typed(
            "select t.table_name, t.merge_state, t.snapshot,
                    extract(epoch from pg_catalog.clock_timestamp()
                            - (pg_catalog.to_jsonb(t)->>'state_since')::timestamptz)::float8,
                    p.tuples_processed, p.bytes_processed,
                    extract(epoch from pg_catalog.clock_timestamp() - a.query_start)::float8,
                    case when i.pid is not null then coalesce(x.relname, 'an index') end
               from londiste.subscriber_table t
               left join lateral (
                    select c.oid
                      from londiste.split_fqname(t.table_name) f
                      join pg_catalog.pg_namespace n on n.nspname = f.o_schema
                      join pg_catalog.pg_class c
                        on c.relnamespace = n.oid and c.relname = f.o_name) c on true
               left join pg_catalog.pg_stat_progress_copy p
                 on p.relid = c.oid and p.command = 'COPY FROM'
                and p.datname = pg_catalog.current_database()
               left join pg_catalog.pg_stat_progress_create_index i
                 on i.relid = c.oid and i.datname = pg_catalog.current_database()
               left join pg_catalog.pg_class x on x.oid = i.index_relid
               left join pg_catalog.pg_stat_activity a on a.pid = coalesce(p.pid, i.pid)
              where t.queue_name = $1
              order by t.nr",
            &[(queue, Type::TEXT)],
        )
        .during("list the subscriber's tables")?;
    let table = |row: &postgres::Row| {
        let rows: Option<i64> = row.get(4);
        let building: Option<String> = row.get(7);
        Table {
            table: row.get(0),
            state: row.get(1),
            snapshot: row.get(2),
            state_age_seconds: age(row, 3),
            copy: (rows.is_some() || building.is_some()).then(|| Copying {
                rows: rows.unwrap_or_default(),
                bytes: row.get::<_, Option<i64>>(5).unwrap_or_default(),
                seconds: age(row, 6),
                total_rows: None,
                building,
            }),
        }
    };
    let mut tables: Vec<Table> = rows.iter().map(table).collect();
    for (name, copying) in noted(db, queue)? {
        if let Some(table) = tables.iter_mut().find(|table| table.table == name) {
            table.copy = Some(copying);
        }
    }
    Ok(tables)
}

/// A time span in seconds up to now, never negative: the clock may have been set back since it began.
fn age(row: &postgres::Row, place: usize) -> Option<f64> {
    row.get::<_, Option<f64>>(place)
        .map(|seconds| seconds.max(0.0))
}

/// What copies say of themselves. The server counts anew with each COPY, of which a large table takes
/// several.
fn noted(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<(String, Copying)>, Error> {
    if !table::exists_table(db, &TableName::new("londiste", "copy_progress"))? {
        return Ok(Vec::new());
    }
    let rows = db
        .query_typed(
            "select table_name, rows, bytes, seconds, rows_expected::float8, phase
               from londiste.copy_progress
              where queue_name = $1
                and noted_at between pg_catalog.clock_timestamp() - interval '30 seconds'
                                 and pg_catalog.clock_timestamp()",
            &[(queue, Type::TEXT)],
        )
        .during("read the progress of copies")?;
    Ok(rows
        .iter()
        .map(|row| {
            let phase: String = row.get(5);
            let copying = Copying {
                rows: row.get(1),
                bytes: row.get(2),
                seconds: row.get(3),
                total_rows: row.get(4),
                building: phase.strip_prefix("building ").map(str::to_owned),
            };
            (row.get(0), copying)
        })
        .collect())
}

fn pending_fkeys(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<String>, Error> {
    let rows = db
        .query_typed(
            "select pg_catalog.format('%s of %s', fkey_name, from_table)
               from londiste.subscriber_get_queue_valid_pending_fkeys($1) order by 1",
            &[(queue, Type::TEXT)],
        )
        .during("list the pending foreign keys")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn errors(db: &mut Session<'_>, consumer: &ConsumerName) -> Result<Vec<JobError>, Error> {
    let known: bool = db
        .query_typed_one(
            "select pg_catalog.to_regclass('londiste.job_error') is not null",
            &[],
        )
        .during("look for the last errors")?
        .get(0);
    if !known {
        return Ok(Vec::new());
    }
    let rows = db
        .query_typed(
            "select consumer_id, table_name, error,
                    extract(epoch from pg_catalog.clock_timestamp() - first_at)::float8,
                    extract(epoch from pg_catalog.clock_timestamp() - last_at)::float8, times,
                    extract(epoch from pg_catalog.clock_timestamp() - solved_at)::float8
               from londiste.job_error
              where error <> ''
                and (consumer_id = $1
                     or consumer_id = $1 || '_copy'
                     or pg_catalog.starts_with(consumer_id, $1 || '_copy.'))
              order by solved_at desc nulls first, last_at desc",
            &[(consumer, Type::TEXT)],
        )
        .during("read the last errors")?;
    let error = |row: &postgres::Row| JobError {
        consumer: row.get(0),
        table: row.get(1),
        error: row.get(2),
        since_seconds: age(row, 3).unwrap_or_default(),
        last_seconds: age(row, 4).unwrap_or_default(),
        times: row.get(5),
        solved_seconds: age(row, 6),
    };
    Ok(rows.iter().map(error).collect())
}
