//! `cargo xtask chaos londiste --relay`: a chain of root, relay and leaf under load, in which everything
//! dies, the relay and the root for longer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use e2e::Load;
use testkit::{Cluster, Shutdown, Traffic, wait_until};

use super::chain::{Chain, LEAF, QUEUE};
use super::random::Random;
use super::{DAMAGE, PATIENCE, WRITERS};
use crate::Result;
use crate::process::{Interrupt, pause};

/// One step of the plan.
#[derive(Debug, Clone, Copy)]
enum Action {
    RelayReplay,
    LeafReplay,
    Copies,
    RootTicker,
    RelayTicker,
    /// A replay is stopped as an operator would, and started.
    Restart,
    RootServer,
    RelayServer,
    LeafServer,
    Session,
    /// The network before one of the servers fails for a while: connections end, or wait.
    Cut,
    Stall,
    Resync,
    /// The leaf reads from the other node from now on; its replay runs on, if it runs.
    Move,
    /// The relay's server is gone for a while; the leaf goes to the root.
    RelayDies,
    /// The root's server is gone for a while, with what nobody else has; the relay takes its place.
    RootDies,
    /// The relay takes the root's place, and nothing is lost.
    Switch,
}

/// How often each action comes.
const WEIGHTS: [(Action, u32); 17] = [
    (Action::RelayReplay, 14),
    (Action::LeafReplay, 12),
    (Action::Copies, 6),
    (Action::RootTicker, 6),
    (Action::RelayTicker, 4),
    (Action::Restart, 6),
    (Action::RootServer, 4),
    (Action::RelayServer, 5),
    (Action::LeafServer, 4),
    (Action::Session, 8),
    (Action::Cut, 10),
    (Action::Stall, 6),
    (Action::Resync, 5),
    (Action::Move, 10),
    (Action::RelayDies, 6),
    (Action::RootDies, 5),
    (Action::Switch, 5),
];

/// A server that is gone for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Nobody,
    Relay,
    /// It has to become a relay when it comes back.
    FormerRoot,
}

/// A run.
pub(super) struct Run {
    random: Random,
    chain: Chain,
    load: Load,
    parallel: u32,
    /// Which of the first two nodes is the root; the other is the relay.
    root: usize,
    /// What the leaf reads from.
    source: usize,
    away: Away,
    dumps: u32,
    faults: BTreeMap<String, u32>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Result<Run> {
        let mut random = Random::new(seed);
        let parallel = random.between(1, 3);
        let chain = Chain::start(parallel)?;
        let load = Load::start(&chain.direct(0), WRITERS);
        Ok(Run {
            random,
            chain,
            load,
            parallel,
            root: 0,
            source: 1,
            away: Away::Nobody,
            dumps: 0,
            faults: BTreeMap::new(),
        })
    }

    /// Does damage for `time`, then compares; says what happened.
    pub(super) fn play(mut self, time: Duration, interrupt: &Interrupt) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < time {
            interrupt.check()?;
            pause(self.random.millis(100, 900));
            let done = self.start_some().and_then(|()| self.act());
            done.map_err(|error| self.chain.explain(error))?;
        }
        self.settle()
    }

    fn relay(&self) -> usize {
        1 - self.root
    }

    /// Starts what is down, as cron would; not always, so that some are away for longer.
    fn start_some(&mut self) -> Result {
        if self.away != Away::Nobody && self.random.one_in(5) {
            self.come_back()?;
        }
        let relay_runs = self.away == Away::Nobody;
        for node in [self.relay(), LEAF] {
            let due = self.chain.replays[node].pid().is_none() && (node == LEAF || relay_runs);
            if due && self.random.one_in(2) {
                self.chain.ensure_replay(node)?;
            }
        }
        for node in [0, 1] {
            if self.chain.tickers[node].pid().is_none() && self.random.one_in(2) {
                self.chain.ensure_ticker(node)?;
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result {
        let chosen = self.random.weighted(&WEIGHTS);
        let (root, relay, whole) = (self.root, self.relay(), self.away == Away::Nobody);
        let done = match chosen {
            Action::RelayReplay => self.kill_replay(relay),
            Action::LeafReplay => self.kill_replay(LEAF),
            Action::Copies => self.chain.kill_copies(),
            Action::RootTicker => self.kill_ticker(root),
            Action::RelayTicker => self.kill_ticker(relay),
            Action::Restart => {
                let node = *self.random.choose(&[relay, LEAF]);
                let line = format!("londiste node{node}.ini -s");
                self.chain.output(&line)?.status.success()
            }
            Action::RootServer => self.restart(root)?,
            Action::RelayServer if whole => self.restart(relay)?,
            Action::LeafServer => self.restart(LEAF)?,
            Action::Session => self.end_session(),
            Action::Cut => self.disturb(Traffic::Cut, 50, 1500),
            Action::Stall => self.disturb(Traffic::Stalls, 200, 3000),
            Action::Resync => {
                let node = *self.random.choose(&[relay, LEAF]);
                let (table, _) = *self.random.choose(&Load::KEYS[..3]);
                let line = format!("londiste node{node}.ini subscriber resync {table}");
                whole && self.chain.output(&line)?.status.success()
            }
            Action::Move if whole => self.change_source(1 - self.source)?,
            Action::RelayDies if whole => self.relay_dies()?,
            Action::RootDies if whole => self.root_dies()?,
            Action::Switch if whole => self.switch()?,
            _ => false,
        };
        if done {
            *self.faults.entry(format!("{chosen:?}")).or_default() += 1;
        }
        Ok(())
    }

    fn kill_replay(&self, node: usize) -> bool {
        let replay = &self.chain.replays[node];
        // It may be away already, or end in this moment.
        replay.pid().is_some() && replay.kill().is_ok()
    }

    fn kill_ticker(&self, node: usize) -> bool {
        let ticker = &self.chain.tickers[node];
        ticker.pid().is_some() && ticker.kill().is_ok()
    }

    /// Stops a server and starts it again after a while.
    fn restart(&mut self, node: usize) -> Result<bool> {
        let manners = [
            Shutdown::Kill,
            Shutdown::Kill,
            Shutdown::Immediate,
            Shutdown::Fast,
        ];
        let how = *self.random.choose(&manners);
        let outage = self.random.millis(0, 800);
        let server: &mut Cluster = &mut self.chain.nodes[node];
        server.stop(how)?;
        pause(outage);
        server.start_again()?;
        Ok(true)
    }

    fn disturb(&mut self, traffic: Traffic, low: u32, high: u32) -> bool {
        let time = self.random.millis(low, high);
        let node = *self.random.choose(&[0, 1, LEAF]);
        self.chain.networks[node].disturb(traffic, time);
        true
    }

    /// Ends a session of the programs somewhere, as an administrator would.
    fn end_session(&mut self) -> bool {
        let node = *self.random.choose(&[0, 1, LEAF]);
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where application_name ~ '^(node|ticker)' order by pid limit 1";
        // A server that recovers has none.
        (self.chain.db(node))
            .is_ok_and(|mut db| db.query(sql, &[]).is_ok_and(|rows| !rows.is_empty()))
    }

    /// Has the leaf read from another node; false if it is refused for what the faults explain.
    fn change_source(&mut self, to: usize) -> Result<bool> {
        let output = self.chain.change_provider(LEAF, to, &["--wait", "20"])?;
        if output.status.success() {
            self.source = to;
            return Ok(true);
        }
        let excused = [
            "is not settled yet",
            "has not made way",
            "does not have tick",
            "cannot connect",
            // It was ended or killed a moment ago, and nobody has started it.
            "has no position",
        ];
        match excused.iter().any(|text| output.stderr.contains(text)) {
            true => Ok(false),
            false => Err(format!(
                "the leaf cannot move to {to}: {}\n{}",
                output.status, output.stderr
            )
            .into()),
        }
    }

    /// Has the leaf read from another node, whatever that costs: what it has read from is gone.
    fn save_leaf(&mut self, to: usize) -> Result {
        let mut output = self.chain.change_provider(LEAF, to, &["--wait", "20"])?;
        if output.stderr.contains("is not settled yet") {
            let more = ["--wait", "20", "--force"];
            output = self.chain.change_provider(LEAF, to, &more)?;
        }
        if output.stderr.contains("has no position") {
            // It left the last provider, and was not started since.
            self.chain.configure(LEAF, to, self.parallel)?;
            self.source = to;
            return Ok(());
        }
        if output.stderr.contains("exists here alone") {
            *self.faults.entry("LeafAhead".to_owned()).or_default() += 1;
            self.chain.output("londiste node2.ini -s")?;
            self.chain.replays[LEAF].wait_gone(PATIENCE)?;
            self.chain.configure(LEAF, to, self.parallel)?;
            self.chain
                .output("londiste node2.ini subscriber unregister")?;
            self.source = to;
            return Ok(());
        }
        if !output.status.success() {
            return Err(format!("the leaf cannot go to {to}:\n{}", output.stderr).into());
        }
        self.source = to;
        Ok(())
    }

    fn relay_dies(&mut self) -> Result<bool> {
        let relay = self.relay();
        self.chain.nodes[relay].stop(Shutdown::Kill)?;
        self.away = Away::Relay;
        if self.source == relay {
            self.save_leaf(self.root)?;
        }
        Ok(true)
    }

    fn root_dies(&mut self) -> Result<bool> {
        let (old, new) = (self.root, self.relay());
        // Who would not be promoted is not left alone.
        let sql = "select count(*) = 4 from londiste.provider_table";
        let whole: bool = self.chain.db(new)?.query_one(sql, &[])?.get(0);
        if !whole {
            return Ok(false);
        }
        self.chain.nodes[old].stop(Shutdown::Kill)?;
        self.promote(new)?;
        self.load.redirect(&self.chain.direct(new), true);
        self.root = new;
        self.away = Away::FormerRoot;
        if self.source == old {
            self.save_leaf(new)?;
        }
        Ok(true)
    }

    fn promote(&self, new: usize) -> Result {
        self.chain.output(&format!("londiste node{new}.ini -s"))?;
        self.chain.replays[new].wait_gone(PATIENCE)?;
        self.chain
            .typed(&format!("londiste node{new}.ini provider promote"))?;
        Ok(())
    }

    fn switch(&mut self) -> Result<bool> {
        let (old, new) = (self.root, self.relay());
        self.chain.ensure_replay(new)?;
        let demoted = (self.chain).output(&format!("londiste node{new}.ini provider demote"))?;
        if !demoted.status.success() {
            // The relay may be too far behind, or have just been started.
            let line = format!("londiste node{new}.ini provider demote --cancel");
            self.chain.typed(&line)?;
            return Ok(false);
        }
        self.promote(new)?;
        self.load.redirect(&self.chain.direct(new), false);
        self.root = new;
        self.resurrect(old)?;
        Ok(true)
    }

    /// Starts a server that was away.
    fn come_back(&mut self) -> Result {
        let node = self.relay();
        self.chain.nodes[node].start_again()?;
        if self.away == Away::FormerRoot {
            self.resurrect(node)?;
        }
        self.away = Away::Nobody;
        Ok(())
    }

    fn resurrect(&mut self, node: usize) -> Result {
        self.dumps += 1;
        let line = format!(
            "londiste node{node}.ini provider resurrect --dump lost{}.json",
            self.dumps
        );
        self.chain.typed(&line)?;
        self.chain.ensure_replay(node)?;
        Ok(())
    }

    /// Lets everything come to rest, and compares.
    fn settle(mut self) -> Result<String> {
        if self.away != Away::Nobody {
            self.come_back()?;
        }
        let (root, relay) = (self.root, self.relay());
        let written = self.load.stop()?;
        let chain = &self.chain;
        for node in [0, 1] {
            chain.ensure_ticker(node)?;
        }
        for node in [relay, LEAF] {
            chain.ensure_replay(node)?;
            wait_until("every table to be in sync", PATIENCE, || {
                let row = chain.db(node)?.query_one(
                    "select count(*) = 4 and bool_and(merge_state is not distinct from 'ok') \
                     from londiste.subscriber_table",
                    &[],
                )?;
                Ok(row.get(0))
            })
            .map_err(|error| chain.explain(error))?;
        }
        chain
            .db(root)?
            .batch_execute("insert into marker values (-1)")?;
        for node in [relay, LEAF] {
            wait_until("the last change to arrive", PATIENCE, || {
                let sql = "select count(*) = 1 from marker where id = -1";
                Ok(chain.db(node)?.query_one(sql, &[])?.get(0))
            })
            .map_err(|error| chain.explain(error))?;
        }

        let mut problems = Vec::new();
        let mut text = String::new();
        for node in 0..3 {
            for problem in Load::problems(&mut chain.db(node)?, &written)? {
                problems.push(format!("node {node}: {problem}"));
            }
        }
        for (table, key) in Load::KEYS {
            let query = format!("select * from {table} order by {key}");
            for node in [relay, LEAF] {
                let (mut left, mut right) = (chain.db(root)?, chain.db(node)?);
                let result = testkit::compare(&mut left, &mut right, &query)?;
                match result.difference {
                    None if node == LEAF => {
                        writeln!(text, "  {table:<8} equal, {} rows", result.left_rows)?;
                    }
                    None => {}
                    Some(_) => problems.push(format!("{table} on node {node}: {result:?}")),
                }
            }
        }
        problems.extend(queue_problems(chain, root)?);
        for node in 0..3 {
            for line in chain.log(node).lines() {
                if DAMAGE.iter().any(|word| line.contains(word)) {
                    problems.push(format!("node{node}.log: {line}"));
                }
            }
        }
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"))
            .collect();
        writeln!(text, "  faults: {}", faults.join(", "))?;
        writeln!(text, "  transactions: {}", written.iter().sum::<i64>())?;
        match problems.is_empty() {
            true => Ok(text),
            false => Err(chain.explain(
                format!(
                    "{} problems\n  {}\n{text}",
                    problems.len(),
                    problems.join("\n  ")
                )
                .into(),
            )),
        }
    }
}

/// What is wrong with the relay's copy of the queue, and with the consumers.
fn queue_problems(chain: &Chain, root: usize) -> Result<Vec<String>> {
    let (mut top, mut mirror) = (chain.db(root)?, chain.db(1 - root)?);
    let mut problems = Vec::new();
    let first: i64 = {
        let sql = "select min(tick_id) from pgq.tick";
        let [left, right]: [i64; 2] = [
            top.query_one(sql, &[])?.get(0),
            mirror.query_one(sql, &[])?.get(0),
        ];
        left.max(right)
    };
    let last: i64 = mirror
        .query_one("select max(tick_id) from pgq.tick", &[])?
        .get(0);
    let ticks =
        format!("select tick_id from pgq.tick where tick_id between {first} and {last} order by 1");
    let result = testkit::compare(&mut top, &mut mirror, &ticks)?;
    if result.difference.is_some() {
        problems.push(format!("ticks of the relay: {result:?}"));
    }
    let doubled: i64 = mirror
        .query_one(
            "select count(*) - count(distinct ev_id) from pgq.event_template",
            &[],
        )?
        .get(0);
    if doubled > 0 {
        problems.push(format!("{doubled} events of the relay are there twice"));
    }
    wait_until("copies to leave nothing behind", PATIENCE, || {
        let mut left = 0;
        for node in [0, 1] {
            let row = chain.db(node)?.query_one(
                "select count(*) from pgq.get_consumer_info($1) where consumer_name ~ '_copy'",
                &[&QUEUE],
            )?;
            left += row.get::<_, i64>(0);
        }
        Ok(left == 0)
    })
    .map_err(|error| chain.explain(error))?;
    Ok(problems)
}
