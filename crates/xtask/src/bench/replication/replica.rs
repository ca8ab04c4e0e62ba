//! Two servers, and a pair of databases on them that replicates in one way or another.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use postgres::Client;
use testkit::Running;

use super::daemon::{Ticker, check, stop};
use super::londiste3::Cascade;
use crate::Result;
use crate::bench::stand::Stand;
use crate::process::pause;

/// Longest wait for anything that has to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Settings that replication needs, and commit times, by which lag is measured.
const SETTINGS: [(&str, &str); 3] = [
    ("wal_level", "logical"),
    ("track_commit_timestamp", "on"),
    ("max_logical_replication_workers", "8"),
];

/// A provider and a subscriber.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) provider: Stand,
    pub(super) subscriber: Stand,
}

impl Sides {
    pub(super) fn start() -> Result<Sides> {
        Ok(Sides {
            provider: Stand::with(&SETTINGS)?,
            subscriber: Stand::with(&SETTINGS)?,
        })
    }

    pub(super) fn version(&self) -> Result<String> {
        self.provider.version()
    }
}

/// A way to replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Ours,
    BuiltIn,
    Londiste3,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Peer::Ours => "ours",
            Peer::BuiltIn => "built-in",
            Peer::Londiste3 => "Londiste 3",
        }
    }
}

/// What a pair of databases is made of.
pub(super) struct Plan<'a> {
    /// Distinguishes the databases of workloads.
    pub(super) name: &'a str,
    /// SQL that makes the tables, on both sides.
    pub(super) schema: &'a str,
    /// Tables to be followed from the start.
    pub(super) tables: &'a [&'a str],
    /// Pause of a consumer that finds nothing to do.
    pub(super) loop_delay: Duration,
}

/// A pair of databases. It does not replicate until it is started.
#[derive(Debug)]
pub(super) struct Replica<'a> {
    pub(super) sides: &'a Sides,
    pub(super) database: String,
    how: How,
}

#[derive(Debug)]
enum How {
    Ours {
        dir: PathBuf,
        replay: Option<Running>,
    },
    BuiltIn,
    Londiste3(Cascade),
}

impl<'a> Replica<'a> {
    /// Creates both databases, their tables, and what follows them. A table `mark` is among them.
    pub(super) fn create(sides: &'a Sides, peer: Peer, plan: &Plan<'_>) -> Result<Replica<'a>> {
        let suffix = match peer {
            Peer::Ours => "ours",
            Peer::BuiltIn => "built_in",
            Peer::Londiste3 => "londiste3",
        };
        let database = format!("{}_{suffix}", plan.name);
        for side in [&sides.provider, &sides.subscriber] {
            let mut db = match peer {
                Peer::Ours => side.ours(&database)?,
                _ => side.empty(&database)?,
            };
            db.batch_execute("create table mark (id int primary key)")?;
            db.batch_execute(plan.schema)?;
            settle(&mut db)?;
        }
        let how = match peer {
            Peer::Ours => {
                let dir = sides.provider.file(&database);
                fs::create_dir_all(&dir)?;
                fs::write(
                    dir.join("r.ini"),
                    format!(
                        "[londiste]\njob_name = r\nprovider_db = {}\nsubscriber_db = {}\n\
                         pgq_queue_name = q\npidfile = {pid}\nlogfile = {log}\nloop_delay = {}\n\
                         parallel_copies = 2\n",
                        sides.provider.conninfo(&database),
                        sides.subscriber.conninfo(&database),
                        plan.loop_delay.as_secs_f64(),
                        pid = dir.join("r.pid").display(),
                        log = dir.join("r.log").display(),
                    ),
                )?;
                How::Ours { dir, replay: None }
            }
            Peer::BuiltIn => How::BuiltIn,
            Peer::Londiste3 => How::Londiste3(Cascade::create(sides, &database, plan.loop_delay)?),
        };
        let mut replica = Replica {
            sides,
            database,
            how,
        };
        match &replica.how {
            How::Ours { .. } => {
                replica.londiste(&["provider", "install"])?;
                replica.londiste(&["subscriber", "install"])?;
            }
            How::BuiltIn => {
                let connection = sides.provider.conninfo(&replica.database);
                replica.provider()?.batch_execute(
                    "create publication p with (publish = 'insert, update, delete')",
                )?;
                let database = &replica.database;
                replica.provider()?.batch_execute(&format!(
                    "select pg_create_logical_replication_slot('{database}', 'pgoutput')"
                ))?;
                replica.subscriber()?.batch_execute(&format!(
                    "create subscription \"{database}\" connection '{connection}' publication p \
                     with (create_slot = false, enabled = false, connect = false, \
                     slot_name = '{database}')"
                ))?;
            }
            How::Londiste3(_) => {}
        }
        if replica.has_ticks() {
            // A queue at rest is not what is measured.
            replica.provider()?.batch_execute(
                "update pgq.queue set queue_ticker_max_lag = '1 s', \
                 queue_ticker_idle_period = '1 s'",
            )?;
        }
        let tables: Vec<&str> = plan.tables.iter().copied().chain(["public.mark"]).collect();
        replica.add(&tables, false)?;
        Ok(replica)
    }

    pub(super) fn provider(&self) -> Result<Client> {
        self.sides.provider.connect(&self.database)
    }

    pub(super) fn subscriber(&self) -> Result<Client> {
        self.sides.subscriber.connect(&self.database)
    }

    fn londiste(&self, args: &[&str]) -> Result {
        let How::Ours { dir, .. } = &self.how else {
            return Err("only ours is run like this".into());
        };
        let output = command(dir).args(args).output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!("londiste {args:?}: {}\n{text}", output.status).into())
    }

    /// Follows more tables: those that hold the same on both sides, or, with `copy`, empty ones
    /// that have to be copied.
    pub(super) fn add(&mut self, tables: &[&str], copy: bool) -> Result {
        self.offer(tables)?;
        self.subscribe(tables, copy)
    }

    /// Follows tables that were offered; see [`Replica::add`].
    pub(super) fn subscribe(&mut self, tables: &[&str], copy: bool) -> Result {
        match &mut self.how {
            How::Ours { .. } => {
                let mut args = vec!["subscriber", "add"];
                if !copy {
                    args.push("--expect-sync");
                }
                args.extend(tables);
                self.londiste(&args)
            }
            How::BuiltIn => {
                let database = &self.database;
                let mut subscriber = self.subscriber()?;
                // It is refreshed only while it is enabled.
                subscriber.batch_execute(&format!("alter subscription \"{database}\" enable"))?;
                Ok(subscriber.batch_execute(&format!(
                    "alter subscription \"{database}\" refresh publication \
                     with (copy_data = {copy})"
                ))?)
            }
            How::Londiste3(cascade) => cascade.add(self.sides, tables, copy),
        }
    }

    /// Captures the changes of tables on the provider.
    pub(super) fn offer(&mut self, tables: &[&str]) -> Result {
        match &self.how {
            How::Ours { .. } => {
                let mut args = vec!["provider", "add"];
                args.extend(tables);
                self.londiste(&args)
            }
            How::BuiltIn => Ok(self.provider()?.batch_execute(&format!(
                "alter publication p add table {}",
                tables.join(", ")
            ))?),
            // Both sides at once, see `add`.
            How::Londiste3(_) => Ok(()),
        }
    }

    /// Starts applying changes.
    pub(super) fn start(&mut self) -> Result {
        match &mut self.how {
            How::Ours { dir, replay } => {
                *replay = Some(Running::start(
                    command(dir).arg("replay"),
                    &dir.join("out"),
                )?);
                Ok(())
            }
            How::BuiltIn => {
                let database = &self.database;
                Ok(self
                    .subscriber()?
                    .batch_execute(&format!("alter subscription \"{database}\" enable"))?)
            }
            How::Londiste3(cascade) => cascade.start(),
        }
    }

    /// Stops applying changes.
    pub(super) fn stop(&mut self) -> Result {
        match &mut self.how {
            How::Ours { replay, .. } => replay.take().map_or(Ok(()), stop),
            How::BuiltIn => {
                let database = &self.database;
                let mut subscriber = self.subscriber()?;
                subscriber.batch_execute(&format!("alter subscription \"{database}\" disable"))?;
                testkit::wait_until("the subscription to rest", PATIENCE, || {
                    let there = subscriber.query_opt(
                        "select from pg_stat_subscription where subname = $1 and pid is not null",
                        &[&self.database],
                    )?;
                    Ok(there.is_none())
                })
            }
            How::Londiste3(cascade) => cascade.stop(),
        }
    }

    /// The process that applies, of ours.
    pub(super) fn replay(&self) -> Option<&Running> {
        match &self.how {
            How::Ours { replay, .. } => replay.as_ref(),
            _ => None,
        }
    }

    /// Whether changes have to be cut into batches.
    fn has_ticks(&self) -> bool {
        !matches!(self.how, How::BuiltIn)
    }

    /// A ticker beside; none where there is nothing to tick.
    pub(super) fn ticker(&self, period: Duration) -> Result<Option<Ticker>> {
        if !self.has_ticks() {
            return Ok(None);
        }
        Ok(Some(Ticker::start(self.provider()?, period)))
    }

    /// Ends the last batch.
    pub(super) fn tick(&self) -> Result {
        if self.has_ticks() {
            self.provider()?
                .batch_execute("select pgq.force_tick('q'); select pgq.ticker('q')")?;
        }
        Ok(())
    }

    /// Starts applying changes, and waits until some have come through.
    pub(super) fn start_first(&mut self) -> Result {
        self.start()?;
        let mut provider = self.provider()?;
        let mut subscriber = self.subscriber()?;
        testkit::wait_until("the first change", PATIENCE, || {
            self.check()?;
            // What is committed before a consumer is registered does not come.
            provider.batch_execute("insert into mark select count(*) + 1 from mark")?;
            self.tick()?;
            pause(Duration::from_millis(200));
            Ok(subscriber
                .query_opt("select from mark limit 1", &[])?
                .is_some())
        })
    }

    /// Applies what `produce` commits, and not before it is committed: the seconds from the start.
    pub(super) fn drain(&mut self, produce: impl FnOnce(&Replica<'_>) -> Result) -> Result<f64> {
        produce(self)?;
        let mut provider = self.provider()?;
        let row = provider.query_one(
            "insert into mark select coalesce(max(id), 0) + 1 from mark returning id",
            &[],
        )?;
        let mark: i32 = row.get(0);
        self.tick()?;
        let mut subscriber = self.subscriber()?;
        let arrived = subscriber.prepare("select from mark where id = $1")?;
        let start = Instant::now();
        self.start()?;
        testkit::wait_until("the last change", PATIENCE, || {
            self.check()?;
            Ok(subscriber.query_opt(&arrived, &[&mark])?.is_some())
        })?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Fails if a process that should run has ended.
    fn check(&mut self) -> Result {
        match &mut self.how {
            How::Ours {
                replay: Some(replay),
                ..
            } => check(replay),
            How::Londiste3(cascade) => cascade.check(),
            _ => Ok(()),
        }
    }

    /// Whether a table that was added is followed.
    pub(super) fn is_followed(&self, subscriber: &mut Client, table: &str) -> Result<bool> {
        let sql = match self.how {
            How::Ours { .. } => {
                "select from londiste.subscriber_table where table_name = $1 and merge_state = 'ok'"
            }
            How::BuiltIn => {
                "select from pg_subscription_rel \
                 where srrelid = to_regclass($1) and srsubstate = 'r'"
            }
            How::Londiste3(_) => {
                "select from londiste.table_info where table_name = $1 and merge_state = 'ok'"
            }
        };
        Ok(subscriber.query_opt(sql, &[&table])?.is_some())
    }
}

/// Leaves a database as one that has been there for a while.
pub(super) fn settle(db: &mut Client) -> Result {
    db.batch_execute("vacuum analyze")?;
    Ok(db.batch_execute("checkpoint")?)
}

fn command(dir: &std::path::Path) -> Command {
    let mut command = Command::new(testkit::bin("londiste"));
    command.arg(dir.join("r.ini"));
    command
}

impl Drop for Replica<'_> {
    fn drop(&mut self) {
        // A slot keeps WAL and a subscription works on; the servers go soon, so failures are as good.
        let _ = self.stop();
        if let How::BuiltIn = self.how
            && let (Ok(mut subscriber), Ok(mut provider)) = (self.subscriber(), self.provider())
        {
            let database = &self.database;
            let _ = subscriber.batch_execute(&format!(
                "alter subscription \"{database}\" set (slot_name = none)"
            ));
            let _ = subscriber.batch_execute(&format!("drop subscription \"{database}\""));
            let _ = provider.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                 where slot_name = $1",
                &[database],
            );
        }
        for side in [&self.sides.provider, &self.sides.subscriber] {
            if let Ok(mut db) = side.connect("postgres") {
                let _ =
                    db.batch_execute(&format!("drop database \"{}\" with (force)", self.database));
            }
        }
    }
}
