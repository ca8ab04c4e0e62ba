//! The plan of a run, and playing it: kill, start again, and in the end let everything come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Cluster, Shutdown};

use super::consumer;
use super::random::Random;
use super::stage::{QUEUE, Role, Stage, prepared_name};
use super::verify;
use crate::Result;
use crate::process::{Interrupt, pause};

/// Patience with all that has to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Patience with a server that has lost a process.
const NOTICE: Duration = Duration::from_secs(10);

/// A run.
pub(super) struct Run {
    random: Random,
    stage: Stage,
    /// How often each kind of victim was killed.
    kills: BTreeMap<&'static str, u32>,
    /// The moments at which the tables of the queue were found to have been switched.
    switches: BTreeSet<String>,
    /// Nobody starts the ticker before.
    ticker_rests_until: Instant,
    /// Most ticks that were made at once out of what had gathered.
    most_at_once: i64,
}

/// One step of the plan.
#[derive(Debug, Clone, Copy)]
enum Action {
    Ticker,
    Maintenance,
    Producer,
    Consumer,
    /// The ticker, for so long that events gather.
    Holiday,
    /// Ticker and all consumers at once.
    Many,
    /// The server's process of a session, by SIGKILL: all sessions end.
    Backend,
    /// A session, as an administrator would end it.
    Session,
    Source,
    Target,
    Both,
}

/// How often each action comes.
const WEIGHTS: [(Action, u32); 11] = [
    (Action::Ticker, 20),
    (Action::Holiday, 2),
    (Action::Maintenance, 10),
    (Action::Producer, 20),
    (Action::Consumer, 25),
    (Action::Many, 4),
    (Action::Backend, 4),
    (Action::Session, 10),
    (Action::Source, 5),
    (Action::Target, 5),
    (Action::Both, 2),
];

impl Run {
    pub(super) fn new(seed: u64) -> Result<Run> {
        Ok(Run {
            random: Random::new(seed),
            stage: Stage::set(seed)?,
            kills: BTreeMap::new(),
            switches: BTreeSet::new(),
            ticker_rests_until: Instant::now(),
            most_at_once: 0,
        })
    }

    /// Kills for `time`, then compares; says what happened.
    pub(super) fn play(mut self, time: Duration, interrupt: &Interrupt) -> Result<String> {
        self.stage.await_ticker()?;
        for place in 0..self.stage.processes.len() {
            self.stage.ensure(place)?;
        }
        let start = Instant::now();
        // A busy machine may need longer until there is something to compare.
        while start.elapsed() < time || start.elapsed() < PATIENCE && self.is_idle()? {
            interrupt.check()?;
            pause(self.random.millis(50, 450));
            self.start_some()?;
            self.look_at_queue();
            self.act()?;
        }
        self.settle(interrupt)?;
        let mut source = self.stage.source()?;
        let mut target = self.stage.target()?;
        let outcome = verify::verify(&self.stage, &mut source, &mut target)?;
        let mut problems = outcome.problems;
        for line in self.stage.complaints()? {
            problems.push(format!("log: {line}"));
        }
        if self.switches.len() < 2 {
            problems.push("the tables of the queue never rotated: nothing was proved".to_owned());
        }
        let mut text = String::new();
        let kills: Vec<String> = self
            .kills
            .iter()
            .map(|(victim, count)| format!("{victim} {count}"))
            .collect();
        writeln!(text, "  killed: {}", kills.join(", "))?;
        let switches = self.switches.len();
        writeln!(
            text,
            "  rotations seen: {switches}, ticks: {}, at most {} at once",
            outcome.ticks, self.most_at_once
        )?;
        text.push_str(&outcome.summary);
        if problems.is_empty() {
            return Ok(text);
        }
        Err(format!(
            "{} problems\n  {}\n{text}",
            problems.len(),
            problems.join("\n  ")
        )
        .into())
    }

    /// Whether a producer has committed nothing yet, or the tables of the queue have not rotated.
    fn is_idle(&self) -> Result<bool> {
        for process in &self.stage.processes {
            if let Role::Producer(_, id) = process.role
                && self.stage.acknowledged(id)?.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(self.switches.len() < 2)
    }

    /// Starts some of what is down, as cron would.
    fn start_some(&mut self) -> Result {
        for place in 0..self.stage.processes.len() {
            // Not all at once, so that some are away for longer.
            if self.random.one_in(2) {
                self.stage.ensure(place)?;
            }
        }
        let due = self.stage.ticker.pid().is_none() && self.random.one_in(2);
        // Cron does not look first.
        let anyway = self.random.one_in(20);
        if (due || anyway) && Instant::now() >= self.ticker_rests_until {
            self.stage.ensure_ticker()?;
        }
        Ok(())
    }

    /// Notes when the tables of the queue were switched, and how ticks were made. The server may be down.
    fn look_at_queue(&mut self) {
        if let Ok(mut db) = self.stage.source()
            && let Ok(row) = db.query_one(
                "select queue_switch_time::text, \
                        (select max(count) from (select count(*) from pgq.tick group by xmin::text) t) \
                 from pgq.queue where queue_name = $1",
                &[&QUEUE],
            )
        {
            self.switches.insert(row.get(0));
            self.most_at_once = self.most_at_once.max(row.get(1));
        }
    }

    fn act(&mut self) -> Result {
        match self.random.weighted(&WEIGHTS) {
            Action::Ticker => self.kill_ticker()?,
            Action::Maintenance => {
                self.kill_one("maintenance", |role| role == Role::Maintenance)?
            }
            Action::Producer => {
                self.kill_one("producer", |role| matches!(role, Role::Producer(..)))?;
            }
            Action::Consumer => {
                self.kill_one("consumer", |role| matches!(role, Role::Consumer(..)))?;
            }
            Action::Holiday => {
                self.kill_ticker()?;
                self.ticker_rests_until = Instant::now() + self.random.millis(6000, 9000);
            }
            Action::Many => {
                self.kill_ticker()?;
                for process in &mut self.stage.processes {
                    if matches!(process.role, Role::Consumer(..)) && process.kill()? {
                        *self.kills.entry("consumer").or_default() += 1;
                    }
                }
            }
            Action::Backend => self.end_session("backend", |db, pid| {
                if let Some(pid) = Pid::from_raw(pid) {
                    kill_process(pid, Signal::KILL)?;
                }
                // Until then the server takes connections that end in a moment.
                testkit::wait_until("the server to notice", NOTICE, || {
                    Ok(db.simple_query("select").is_err())
                })
            })?,
            Action::Session => self.end_session("session", |db, pid| {
                db.execute("select pg_terminate_backend($1)", &[&pid])?;
                Ok(())
            })?,
            Action::Source => {
                let how = self.manner();
                let outage = self.random.millis(0, 800);
                restart(&mut self.stage.source, how, outage)?;
                *self.kills.entry("source server").or_default() += 1;
            }
            Action::Target => {
                let how = self.manner();
                let outage = self.random.millis(0, 800);
                restart(&mut self.stage.target, how, outage)?;
                *self.kills.entry("target server").or_default() += 1;
            }
            Action::Both => {
                self.kill_ticker()?;
                let [first, second] = [self.manner(), self.manner()];
                self.stage.source.stop(first)?;
                self.stage.target.stop(second)?;
                self.stage.target.start_again()?;
                self.stage.source.start_again()?;
                for victim in ["source server", "target server"] {
                    *self.kills.entry(victim).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn manner(&mut self) -> Shutdown {
        let manners = [
            Shutdown::Kill,
            Shutdown::Kill,
            Shutdown::Kill,
            Shutdown::Immediate,
            Shutdown::Fast,
        ];
        *self.random.choose(&manners)
    }

    fn kill_ticker(&mut self) -> Result {
        // It may be away already, or end in this moment.
        if self.stage.ticker.pid().is_some() && self.stage.ticker.kill().is_ok() {
            *self.kills.entry("ticker").or_default() += 1;
        }
        Ok(())
    }

    fn kill_one(&mut self, victim: &'static str, wanted: fn(Role) -> bool) -> Result {
        let places: Vec<usize> = (0..self.stage.processes.len())
            .filter(|place| wanted(self.stage.processes[*place].role))
            .collect();
        let place = *self.random.choose(&places);
        if self.stage.processes[place].kill()? {
            *self.kills.entry(victim).or_default() += 1;
        }
        Ok(())
    }

    /// Ends one of the sessions on the source or the target.
    fn end_session(&mut self, victim: &'static str, end: fn(&mut Client, i32) -> Result) -> Result {
        let at_source = self.random.one_in(2);
        let place = usize::try_from(self.random.below(1000))?;
        let db = if at_source {
            self.stage.source()
        } else {
            self.stage.target()
        };
        // A server that recovers has no sessions.
        let Ok(mut db) = db else {
            return Ok(());
        };
        let Ok(sessions) = db.query(
            "select pid from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid() \
             order by application_name, pid",
            &[],
        ) else {
            return Ok(());
        };
        if let Some(row) = sessions.get(place % sessions.len().max(1)) {
            // The session may have ended by itself.
            if end(&mut db, row.get(0)).is_ok() {
                *self.kills.entry(victim).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Stops producing, and waits until every consumer has all there is.
    fn settle(&mut self, interrupt: &Interrupt) -> Result {
        for process in &mut self.stage.processes {
            if matches!(process.role, Role::Producer(..)) {
                process.kill()?;
            }
        }
        let mut db = testkit::wait_for("the source to recover", PATIENCE, || {
            Ok(self.stage.source().ok())
        })?;
        testkit::wait_until("the target to recover", PATIENCE, || {
            Ok(self.stage.target().is_ok())
        })?;
        testkit::wait_until("the sessions of producers to end", PATIENCE, || {
            let row = db.query_one(
                "select count(*) from pg_stat_activity where application_name ~ '^producer'",
                &[],
            )?;
            Ok(row.get::<_, i64>(0) == 0)
        })?;
        let prefix = prepared_name(0, "");
        let prefix = prefix.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
        for row in db.query(
            "select gid from pg_prepared_xacts where starts_with(gid, $1)",
            &[&prefix],
        )? {
            let end = *self.random.choose(&["commit", "rollback"]);
            db.batch_execute(&format!("{end} prepared '{}'", row.get::<_, &str>(0)))?;
        }
        // Events asked for again come behind the first marker, and before the second.
        for marker in ["first", "second"] {
            db.execute(
                "select pgq.insert_event($1, 'marker', $2)",
                &[&QUEUE, &marker],
            )?;
            self.wait(
                &mut db,
                interrupt,
                &format!("the {marker} marker"),
                |db, target| missing_marker(db, target, marker),
            )?;
            self.wait(&mut db, interrupt, "retried events", |db, _| {
                let row = db.query_one("select count(*) from pgq.retry_queue", &[])?;
                let left: i64 = row.get(0);
                Ok((left > 0).then(|| format!("{left} wait for their redelivery")))
            })?;
        }
        // A member of a group may still have a batch that another one has passed.
        let last: i64 = db
            .query_one("select max(tick_id) from pgq.tick", &[])?
            .get(0);
        self.wait(&mut db, interrupt, "open batches", |db, _| {
            let row = db.query_one(
                "select count(*) from pgq.subscription \
                 where sub_batch is not null and sub_next_tick <= $1",
                &[&last],
            )?;
            let left: i64 = row.get(0);
            Ok((left > 0).then(|| format!("{left} batches are open")))
        })
    }

    /// Keeps everything but producers running until nothing is missing.
    fn wait(
        &mut self,
        db: &mut Client,
        interrupt: &Interrupt,
        what: &str,
        missing: impl Fn(&mut Client, &mut Client) -> Result<Option<String>>,
    ) -> Result {
        let mut target = self.stage.target()?;
        let start = Instant::now();
        loop {
            interrupt.check()?;
            for place in 0..self.stage.processes.len() {
                if !matches!(self.stage.processes[place].role, Role::Producer(..)) {
                    self.stage.ensure(place)?;
                }
            }
            if self.stage.ticker.pid().is_none() {
                self.stage.ensure_ticker()?;
            }
            let Some(left) = missing(db, &mut target)? else {
                return Ok(());
            };
            if start.elapsed() > PATIENCE {
                let complaints = self.stage.complaints()?.join("\n  ");
                let state = verify::consumers(db)?;
                return Err(format!(
                    "waited {PATIENCE:?} in vain for {what}: {left}\n{state}  {complaints}"
                )
                .into());
            }
            pause(Duration::from_millis(50));
        }
    }
}

/// Which consumers lack a marker.
fn missing_marker(
    source: &mut Client,
    target: &mut Client,
    marker: &str,
) -> Result<Option<String>> {
    let mut missing = Vec::new();
    for kind in consumer::Kind::ALL {
        let db = if kind.is_at_source() {
            &mut *source
        } else {
            &mut *target
        };
        let found = db.query_opt(
            "select from seen where consumer = $1 and kind = 'marker' and data = $2 limit 1",
            &[&kind.name(), &marker],
        )?;
        if found.is_none() {
            missing.push(kind.name());
        }
    }
    Ok((!missing.is_empty()).then(|| format!("not seen by {}", missing.join(", "))))
}

fn restart(cluster: &mut Cluster, how: Shutdown, outage: Duration) -> Result {
    cluster.stop(how)?;
    pause(outage);
    cluster.start_again()
}
