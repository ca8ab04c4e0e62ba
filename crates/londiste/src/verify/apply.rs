//! Repairing rows right away.
//!
//! What was found to differ is of a moment that is over. So both sides meet again, the rows are read
//! again, and what differs now is repaired in the transaction that holds replay at its position: the
//! provider's row of that position is right for it, and the events that follow find what they expect.

use postgres::error::SqlState;
use skytools::daemon::Job;
use skytools::db::{Database, DbError, During, Session};
use tracing::warn;

use super::check::Sink;
use super::difference::{self, Difference, SizedKey, Whose};
use super::fence::{Fence, Terms};
use super::layout::Layout;
use super::read::{self, Value};
use super::session;
use super::statement::{self, Kind, Statement};
use crate::{Config, Error};

/// Rows repaired while replay is held …
const AT_ONCE: usize = 2000;

/// … or so many bytes of them, but for the last.
const BYTES: usize = 16 * 1024 * 1024;

/// Repairs rows.
pub(crate) struct Repairer {
    fence: Fence,
    provider: Database,
    /// Keys to look at again, with where they were seen.
    waiting: Vec<(SizedKey, Whose)>,
    /// Length of their rows.
    bytes: usize,
    repaired: u64,
    /// Rows that did not differ any more.
    passed: u64,
    told: bool,
}

impl Repairer {
    pub(crate) fn new(job: &Job<Config>, terms: Terms) -> Result<Repairer, Error> {
        Ok(Repairer {
            fence: Fence::new(&job.config, &job.common, terms)?,
            provider: job.config.provider(&job.common)?,
            waiting: Vec::new(),
            bytes: 0,
            repaired: 0,
            passed: 0,
            told: false,
        })
    }

    /// Rows repaired in this table, and rows that did not differ any more when they were looked at again:
    /// their events came after all, or their keys changed and the difference is elsewhere now.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.repaired, self.passed)
    }

    /// Begins a table.
    pub(crate) fn begin(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
        self.repaired = 0;
        self.passed = 0;
    }

    fn flush(&mut self, layout: &Layout) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let result = self.repair(layout, &waiting);
        if result.is_err() {
            self.fence.reset();
            self.provider.reset();
        }
        let repaired = result?;
        self.repaired += repaired;
        self.passed += (waiting.len() as u64).saturating_sub(repaired);
        Ok(())
    }

    fn repair(&mut self, layout: &Layout, waiting: &[(SizedKey, Whose)]) -> Result<u64, Error> {
        self.fence
            .meet_to_change(&layout.table, &mut [&mut self.provider])?;
        let provider = self.provider.connection()?;
        let subscriber = self.fence.subscriber()?;
        prepare(subscriber, &mut self.told)?;
        let mut found = Vec::new();
        for whose in [Whose::Provider, Whose::Subscriber] {
            let keys: Vec<SizedKey> = waiting
                .iter()
                .filter(|(_, seen)| *seen == whose)
                .map(|(key, _)| key.clone())
                .collect();
            for keys in difference::portions(&keys) {
                found.extend(difference::verify(
                    provider, subscriber, layout, &keys, whose,
                )?);
            }
        }
        let count = found.len() as u64;
        run(provider, subscriber, layout, &found)?;
        subscriber
            .batch_execute("commit")
            .during(format!("commit the repair of {}", layout.table))?;
        self.fence.let_go()?;
        provider
            .batch_execute("rollback")
            .during("end a snapshot")?;
        Ok(count)
    }
}

/// Pins the text of values, and lets triggers and foreign keys rest, if the role may.
fn prepare(subscriber: &mut Session<'_>, told: &mut bool) -> Result<(), DbError> {
    let step = "prepare a repair";
    subscriber
        .batch_execute(&format!(
            "{} set local row_security = off; set constraints all deferred; savepoint role",
            session::pins()
        ))
        .during(step)?;
    match subscriber.batch_execute("set local session_replication_role = replica") {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            if !*told {
                warn!(
                    "the role of subscriber_db may not set session_replication_role, so triggers of the \
                     tables fire for repairs"
                );
                *told = true;
            }
            subscriber
                .batch_execute("rollback to savepoint role")
                .during(step)
        }
        Err(error) => Err(error).during(step),
    }
}

/// Runs the statements for rows.
fn run(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    layout: &Layout,
    found: &[Difference],
) -> Result<(), Error> {
    let all: Vec<Statement> = (found.iter())
        .flat_map(|difference| statement::statements(layout, difference))
        .collect();
    for kind in Kind::ALL {
        for statement in all.iter().filter(|statement| statement.kind == kind) {
            statement.run(layout, provider, subscriber)?;
        }
    }
    Ok(())
}

impl Sink for Repairer {
    fn take(
        &mut self,
        layout: &Layout,
        _: &mut Session<'_>,
        differences: Vec<Difference>,
    ) -> Result<(), Error> {
        for difference in &differences {
            let (row, whose) = match difference {
                Difference::Missing(row) => (row, Whose::Provider),
                Difference::Changed { provider, .. } => (provider, Whose::Provider),
                Difference::Extra(row) => (row, Whose::Subscriber),
            };
            let bytes: usize = row.iter().flatten().map(Value::bytes).sum();
            self.bytes += bytes;
            let key = read::key(layout, row);
            self.waiting.push(((key, bytes), whose));
        }
        if self.waiting.len() >= AT_ONCE || self.bytes >= BYTES {
            self.flush(layout)?;
        }
        Ok(())
    }

    fn save(&mut self, layout: &Layout) -> Result<Vec<u64>, Error> {
        self.flush(layout)?;
        Ok(Vec::new())
    }
}
