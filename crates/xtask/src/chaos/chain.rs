//! Three servers that pass one queue on: a root, a relay, and a leaf; and our programs between them.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::Load;
use postgres::Client;
use tempfile::TempDir;
use testkit::{Cluster, Job, Output, Program, Proxy, wait_until};

use super::PATIENCE;
use crate::Result;

/// The queue.
pub(super) const QUEUE: &str = "shop.replic";

/// The node that never has the queue.
pub(super) const LEAF: usize = 2;

/// Servers 0 and 1 are root and relay, in turn.
#[derive(Debug)]
pub(super) struct Chain {
    /// Replay of each node, for when it is a subscriber.
    pub(super) replays: [Job; 3],
    /// Tickers of the nodes that have the queue.
    pub(super) tickers: [Job; 2],
    /// Killed with all that works on them.
    copies: Vec<Job>,
    pub(super) nodes: [Cluster; 3],
    /// The network before each of them, as our programs see it.
    pub(super) networks: [Proxy; 3],
    dir: TempDir,
}

impl Chain {
    /// Starts the servers; 0 is the root, 1 its relay, and the leaf reads from that.
    pub(super) fn start(copies: u32) -> Result<Chain> {
        let dir = tempfile::tempdir()?;
        let path = dir.path();
        let nodes = [Cluster::start()?, Cluster::start()?, Cluster::start()?];
        for node in &nodes {
            node.create_database("shop")?.batch_execute(Load::TABLES)?;
        }
        let [root, relay, leaf] = &nodes;
        let networks = [
            Proxy::start(root)?,
            Proxy::start(relay)?,
            Proxy::start(leaf)?,
        ];
        let job = |suffix: &str| Job::new(path.join(suffix));
        let mut all_copies = Vec::new();
        for node in 0..3 {
            all_copies.push(job(&format!("node{node}.pid.copy")));
            for (table, _) in Load::KEYS {
                all_copies.push(job(&format!("node{node}.pid.copy.public.{table}")));
            }
        }
        let chain = Chain {
            replays: [job("node0.pid"), job("node1.pid"), job("node2.pid")],
            tickers: [job("ticker0.pid"), job("ticker1.pid")],
            copies: all_copies,
            nodes,
            networks,
            dir,
        };
        for (node, provider) in [(0, 1), (1, 0), (LEAF, 1)] {
            chain.configure(node, provider, copies)?;
        }
        chain.install()?;
        Ok(chain)
    }

    /// Writes the files of a node.
    pub(super) fn configure(&self, node: usize, provider: usize, copies: u32) -> Result {
        let (own, from) = (self.dsn(node), self.dsn(provider));
        let relay = match node {
            LEAF => String::new(),
            _ => format!(
                "mirror_queue = {QUEUE}\nlocal_wm_publish_period = 0.5\nglobal_wm_publish_period = 0.5\n"
            ),
        };
        fs::write(
            self.path(&format!("node{node}.ini")),
            format!(
                "[londiste]\njob_name = node{node}\nprovider_db = {from}\nsubscriber_db = {own}\n\
                 pgq_queue_name = {QUEUE}\nloop_delay = 0.1\nexception_sleep = 0.3\nsync_poll = 0.1\n\
                 lock_timeout = 5\nparallel_copies = {copies}\n{relay}\
                 logfile = node{node}.log\npidfile = node{node}.pid\n"
            ),
        )?;
        if node != LEAF {
            fs::write(
                self.path(&format!("ticker{node}.ini")),
                format!(
                    "[pgqadm]\njob_name = ticker{node}\ndb = {own}\nloop_delay = 0.1\n\
                     queue_refresh_period = 1\nexception_sleep = 0.3\n\
                     logfile = ticker{node}.log\npidfile = ticker{node}.pid\n"
                ),
            )?;
        }
        Ok(())
    }

    /// As the manual has it.
    fn install(&self) -> Result {
        self.typed("pgqadm ticker0.ini install")?;
        self.typed("londiste node1.ini provider install")?;
        self.typed(&format!(
            "pgqadm ticker0.ini config {QUEUE} ticker_max_lag=0.2 ticker_idle_period=1 rotation_period=5"
        ))?;
        self.typed("pgqadm ticker0.ini ticker -d")?;
        self.typed("londiste node1.ini subscriber install")?;
        self.typed("londiste node1.ini subscriber relay-init")?;
        self.typed("londiste node1.ini replay -d")?;
        self.typed("pgqadm ticker1.ini ticker -d")?;
        self.db(0)?.batch_execute(Load::ROWS)?;
        self.typed("londiste node1.ini provider add --all")?;
        self.typed("londiste node1.ini subscriber add --all")?;
        wait_until("the relay to publish its tables", PATIENCE, || {
            let sql = "select count(*) = 4 from londiste.provider_table";
            Ok(self.db(1)?.query_one(sql, &[])?.get(0))
        })?;
        self.typed("londiste node2.ini subscriber install")?;
        self.typed("londiste node2.ini replay -d")?;
        self.typed("londiste node2.ini subscriber add --all")?;
        Ok(())
    }

    /// How our programs reach a node: through a network that can fail.
    fn dsn(&self, node: usize) -> String {
        self.networks[node].conninfo("shop")
    }

    /// How writers reach it.
    pub(super) fn direct(&self, node: usize) -> String {
        self.nodes[node].conninfo("shop")
    }

    pub(super) fn db(&self, node: usize) -> Result<Client> {
        self.nodes[node].connect("shop")
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One of our programs with its arguments, as typed in a shell; words are split at blanks.
    pub(super) fn output(&self, line: &str) -> Result<Output> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        Program::new(name, self.dir()).args(words).output()
    }

    /// As [`Chain::output`]; it has to succeed.
    pub(super) fn typed(&self, line: &str) -> Result<Output> {
        let output = self.output(line)?;
        match output.status.success() {
            true => Ok(output),
            false => Err(format!("`{line}`: {}\n{}", output.status, output.stderr).into()),
        }
    }

    /// Runs `londiste nodeN.ini subscriber change-provider DSN`.
    pub(super) fn change_provider(&self, node: usize, to: usize, more: &[&str]) -> Result<Output> {
        let ini = format!("node{node}.ini");
        Program::new("londiste", self.dir())
            .args([ini.as_str(), "subscriber", "change-provider", &self.dsn(to)])
            .args(more)
            .output()
    }

    /// Starts replay and ticker of a node, as cron would; what runs is left alone.
    pub(super) fn ensure_replay(&self, node: usize) -> Result<Output> {
        self.output(&format!("londiste node{node}.ini replay -d --ensure"))
    }

    pub(super) fn ensure_ticker(&self, node: usize) -> Result<Output> {
        self.output(&format!("pgqadm ticker{node}.ini ticker -d --ensure"))
    }

    /// Kills the copies that run; false if there are none.
    pub(super) fn kill_copies(&self) -> bool {
        let mut any = false;
        for copy in &self.copies {
            any |= copy.pid().is_some() && copy.kill().is_ok();
        }
        any
    }

    pub(super) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.path(&format!("node{node}.log"))).unwrap_or_default()
    }

    /// An error with the ends of the logs.
    pub(super) fn explain(&self, error: testkit::Error) -> testkit::Error {
        let mut text = error.to_string();
        for node in 0..3 {
            let log = self.log(node);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            text.push_str(&format!("\n--- node{node}.log\n{tail}"));
        }
        text.into()
    }
}
