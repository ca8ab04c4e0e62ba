//! `cargo xtask chaos londiste`: replication of tables under load, while everything dies and the network
//! fails.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use e2e::{Load, Replication};
use testkit::{Cluster, Job, Proxy, Shutdown, Traffic, wait_until};

use super::random::Random;
use super::{DAMAGE, PATIENCE, WRITERS};
use crate::Result;
use crate::process::{Interrupt, pause};

/// One step of the plan.
#[derive(Debug, Clone, Copy)]
enum Action {
    Replay,
    Copy,
    Ticker,
    /// Replay is stopped as an operator would, and started.
    Restart,
    Provider,
    Subscriber,
    Both,
    CutProvider,
    CutSubscriber,
    StallProvider,
    StallSubscriber,
    Session,
    Resync,
    RemoveAndAdd,
    /// As the last, on the provider, too.
    Republish,
}

/// How often each action comes.
const WEIGHTS: [(Action, u32); 15] = [
    (Action::Replay, 20),
    (Action::Copy, 14),
    (Action::Ticker, 8),
    (Action::Restart, 6),
    (Action::Provider, 4),
    (Action::Subscriber, 4),
    (Action::Both, 2),
    (Action::CutProvider, 7),
    (Action::CutSubscriber, 7),
    (Action::StallProvider, 4),
    (Action::StallSubscriber, 4),
    (Action::Session, 8),
    (Action::Resync, 8),
    (Action::RemoveAndAdd, 5),
    (Action::Republish, 3),
];

/// A run.
pub(super) struct Run {
    random: Random,
    it: Replication,
    provider: Proxy,
    subscriber: Proxy,
    copies: Vec<Job>,
    faults: BTreeMap<String, u32>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Result<Run> {
        let mut random = Random::new(seed);
        let it = Replication::prepare()?;
        let provider = Proxy::start(&it.provider)?;
        let subscriber = Proxy::start(&it.subscriber)?;
        let copies = random.between(1, 3);
        it.go_through(
            &provider.conninfo("shop"),
            &subscriber.conninfo("shop"),
            &format!("parallel_copies = {copies}\nsync_poll = 0.1\nlock_timeout = 5"),
        )?;
        it.begin(Load::TABLES)?;
        let suffixes = Load::KEYS.map(|(table, _)| format!(".copy.public.{table}"));
        let copies = suffixes
            .iter()
            .map(String::as_str)
            .chain([".copy"])
            .map(|suffix| Job::new(it.dir().join(format!("replic.pid{suffix}"))))
            .collect();
        Ok(Run {
            random,
            it,
            provider,
            subscriber,
            copies,
            faults: BTreeMap::new(),
        })
    }

    /// Does damage for `time`, then compares; says what happened.
    pub(super) fn play(mut self, time: Duration, interrupt: &Interrupt) -> Result<String> {
        self.it.provider_db()?.batch_execute(Load::ROWS)?;
        let load = Load::start(&self.it.provider.conninfo("shop"), WRITERS);
        self.it
            .typed("londiste replic.ini provider add ledger account item marker")?;
        self.it
            .typed("londiste replic.ini subscriber add ledger account item marker")?;
        let start = Instant::now();
        while start.elapsed() < time {
            interrupt.check()?;
            pause(self.random.millis(100, 900));
            self.start_some()?;
            self.act()?;
        }
        self.settle(load)
    }

    /// Starts what is down, as cron would; not always, so that some are away for longer.
    fn start_some(&mut self) -> Result {
        // A server that is down, or comes back, is none of their business.
        if self.it.replay.pid().is_none() && self.random.one_in(2) {
            self.it
                .program("londiste replic.ini replay -d --ensure")
                .output()?;
        }
        if self.it.ticker.pid().is_none() && self.random.one_in(2) {
            self.it
                .program("pgqadm provider_ticker.ini ticker -d --ensure")
                .output()?;
        }
        Ok(())
    }

    fn act(&mut self) -> Result {
        let chosen = self.random.weighted(&WEIGHTS);
        let done = match chosen {
            // It may be away already, or end in this moment.
            Action::Replay => self.it.replay.pid().is_some() && self.it.replay.kill().is_ok(),
            Action::Ticker => self.it.ticker.pid().is_some() && self.it.ticker.kill().is_ok(),
            Action::Copy => self.kill_copies(),
            Action::Restart => {
                self.command("-s")?;
                true
            }
            Action::Provider => {
                let (how, outage) = (self.manner(), self.random.millis(0, 800));
                restart(&mut self.it.provider, how, outage)?;
                true
            }
            Action::Subscriber => {
                let (how, outage) = (self.manner(), self.random.millis(0, 800));
                restart(&mut self.it.subscriber, how, outage)?;
                true
            }
            Action::Both => {
                let [first, second] = [self.manner(), self.manner()];
                self.it.provider.stop(first)?;
                self.it.subscriber.stop(second)?;
                self.it.subscriber.start_again()?;
                self.it.provider.start_again()?;
                true
            }
            Action::CutProvider => self.disturb(true, Traffic::Cut, 50, 1500),
            Action::CutSubscriber => self.disturb(false, Traffic::Cut, 50, 1500),
            Action::StallProvider => self.disturb(true, Traffic::Stalls, 200, 3000),
            Action::StallSubscriber => self.disturb(false, Traffic::Stalls, 200, 3000),
            Action::Session => self.end_session(),
            Action::Resync => {
                let table = self.table();
                self.command(&format!("subscriber resync {table}"))?
            }
            Action::RemoveAndAdd => {
                let table = self.table();
                let removed = self.command(&format!("subscriber remove {table}"))?;
                self.command(&format!("subscriber add {table}"))?;
                removed
            }
            Action::Republish => {
                let table = self.table();
                let removed = self.command(&format!("provider remove {table}"))?;
                self.command(&format!("provider add {table}"))?;
                self.command(&format!("subscriber add {table}"))?;
                removed
            }
        };
        if done {
            *self.faults.entry(format!("{chosen:?}")).or_default() += 1;
        }
        Ok(())
    }

    fn table(&mut self) -> &'static str {
        let (table, _) = *self.random.choose(&Load::KEYS[..3]);
        table
    }

    /// A command of an operator, which may fail as the servers and the network are.
    fn command(&self, line: &str) -> Result<bool> {
        let line = format!("londiste replic.ini {line}");
        Ok(self.it.program(&line).output()?.status.success())
    }

    fn kill_copies(&mut self) -> bool {
        let mut any = false;
        for copy in &self.copies {
            any |= copy.pid().is_some() && copy.kill().is_ok();
        }
        any
    }

    fn manner(&mut self) -> Shutdown {
        let manners = [
            Shutdown::Kill,
            Shutdown::Kill,
            Shutdown::Immediate,
            Shutdown::Fast,
        ];
        *self.random.choose(&manners)
    }

    fn disturb(&mut self, provider: bool, traffic: Traffic, low: u32, high: u32) -> bool {
        let time = self.random.millis(low, high);
        let proxy = match provider {
            true => &self.provider,
            false => &self.subscriber,
        };
        proxy.disturb(traffic, time);
        true
    }

    /// Ends a session of the programs on either side, as an administrator would.
    fn end_session(&mut self) -> bool {
        let db = match self.random.one_in(2) {
            true => self.it.provider_db(),
            false => self.it.subscriber_db(),
        };
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where application_name in ('replic', 'provider_ticker') \
                   order by pid limit 1";
        // A server that recovers has none.
        db.is_ok_and(|mut db| db.query(sql, &[]).is_ok_and(|rows| !rows.is_empty()))
    }

    /// Lets everything come to rest, and compares.
    fn settle(self, load: Load) -> Result<String> {
        let it = &self.it;
        let written = load.stop()?;
        it.start_ticker()?;
        it.start_replay()?;
        for (table, _) in Load::KEYS {
            // It may have been removed on one side when the command for the other failed.
            it.program(&format!("londiste replic.ini provider add {table}"))
                .output()?;
            it.program(&format!("londiste replic.ini subscriber add {table}"))
                .output()?;
        }
        wait_until("every table to be in sync", PATIENCE, || {
            // One that was told to stop a moment ago may have been there still.
            if it.replay.pid().is_none() {
                it.start_replay()?;
            }
            let row = it.subscriber_db()?.query_one(
                "select count(*) = 4 and bool_and(merge_state is not distinct from 'ok') \
                 from londiste.subscriber_table",
                &[],
            )?;
            Ok(row.get(0))
        })
        .map_err(|error| self.explain(error))?;
        let mut marker = 0;
        wait_until("the last change to arrive", PATIENCE, || {
            // A table that is still to be unsubscribed would take the marker with it.
            marker += 1;
            let insert = format!("insert into marker values ({marker}) on conflict do nothing");
            it.provider_db()?.batch_execute(&insert)?;
            let row = it.subscriber_db()?.query_one(
                "select (select count(*) from marker where id = $1) = 1 \
                    and (select count(*) = 4 and bool_and(merge_state is not distinct from 'ok') \
                         from londiste.subscriber_table)",
                &[&(marker - 20)],
            )?;
            Ok(row.get(0))
        })
        .map_err(|error| self.explain(error))?;
        it.wait_caught_up(
            "insert into marker values (-1)",
            "select from marker where id = -1",
        )?;

        let mut problems = Load::problems(&mut it.subscriber_db()?, &written)?;
        let mut text = String::new();
        for (table, key) in Load::KEYS {
            match it.same(&format!("select * from {table} order by {key}")) {
                Ok(rows) => writeln!(text, "  {table:<8} equal, {rows} rows")?,
                Err(error) => problems.push(error.to_string()),
            }
        }
        let log = std::fs::read_to_string(it.log("replic.log"))?;
        for line in log.lines() {
            if DAMAGE.iter().any(|word| line.contains(word)) {
                problems.push(format!("log: {line}"));
            }
        }
        if let Err(error) = self.await_tidy() {
            problems.push(error.to_string());
        }
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"))
            .collect();
        writeln!(text, "  faults: {}", faults.join(", "))?;
        writeln!(text, "  transactions: {}", written.iter().sum::<i64>())?;
        it.stop()?;
        match problems.is_empty() {
            true => Ok(text),
            false => Err(format!(
                "{} problems\n  {}\n{text}",
                problems.len(),
                problems.join("\n  ")
            )
            .into()),
        }
    }

    /// Copies leave neither consumers nor positions behind.
    fn await_tidy(&self) -> Result {
        wait_until("copies to leave nothing behind", PATIENCE, || {
            let row = self.it.provider_db()?.query_one(
                "select count(*) from pgq.get_consumer_info('shop.replic')",
                &[],
            )?;
            let positions = self
                .it
                .subscriber_db()?
                .query_one("select count(*) from londiste.completed", &[])?;
            Ok(row.get::<_, i64>(0) == 1 && positions.get::<_, i64>(0) == 1)
        })
    }

    /// An error with the end of the log.
    fn explain(&self, error: testkit::Error) -> testkit::Error {
        let log = std::fs::read_to_string(self.it.log("replic.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("{error}\n{tail}").into()
    }
}

/// Stops a server and starts it again after a while.
fn restart(server: &mut Cluster, how: Shutdown, outage: Duration) -> Result {
    server.stop(how)?;
    pause(outage);
    server.start_again()
}
