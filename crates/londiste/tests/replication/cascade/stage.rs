//! Several databases that pass one queue on.

use std::fs;
use std::path::PathBuf;

use postgres::Client;
use testkit::{Cluster, Output, Program, Running, TestResult, wait_until};

use crate::support::{Load, PATIENCE};

/// What every node has.
pub(super) const SCHEMA: &str =
    "create table t (id int primary key, n int not null default 0, data text);
    create table u (id int primary key, t int references t, data text);
    create sequence s";

/// Servers with a database each; jobs between them have ini files of their names.
pub(super) struct Stage {
    pub(super) nodes: Vec<Cluster>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// So many servers, with [`SCHEMA`]; every other one is of the subscribers' version.
    pub(super) fn set(count: usize) -> TestResult<Stage> {
        let mut nodes = Vec::new();
        for number in 0..count {
            let node = match number % 2 {
                0 => Cluster::start()?,
                _ => Cluster::builder().subscriber().start()?,
            };
            node.create_database("shop")?.batch_execute(SCHEMA)?;
            nodes.push(node);
        }
        Ok(Stage {
            nodes,
            dir: tempfile::tempdir()?,
        })
    }

    /// A root (0) with PgQ and ticker, and both tables and the sequence registered.
    pub(super) fn with_root(count: usize) -> TestResult<(Stage, Running)> {
        let stage = Stage::set(count)?;
        stage.job("root", 0, 0, "")?;
        stage.run("root", "provider install")?;
        stage.run("root", "provider add t u")?;
        stage.run("root", "provider add-seq s")?;
        let ticker = stage.ticker(0)?;
        Ok((stage, ticker))
    }

    pub(super) fn dsn(&self, node: usize) -> String {
        self.nodes[node].conninfo("shop")
    }

    pub(super) fn db(&self, node: usize) -> TestResult<Client> {
        self.nodes[node].connect("shop")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration of a job.
    pub(super) fn job(
        &self,
        name: &str,
        provider: usize,
        subscriber: usize,
        lines: &str,
    ) -> TestResult {
        let text = format!(
            "[londiste]\njob_name = {name}\nprovider_db = {}\nsubscriber_db = {}\n\
             pgq_queue_name = q\npidfile = {}\nlogfile = {}\nloop_delay = 0.1\n\
             exception_sleep = 0.3\nsync_poll = 0.05\n{lines}\n",
            self.dsn(provider),
            self.dsn(subscriber),
            self.path(&format!("{name}.pid")).display(),
            self.path(&format!("{name}.log")).display(),
        );
        Ok(fs::write(self.path(&format!("{name}.ini")), text)?)
    }

    /// Runs `londiste NAME.ini LINE` to its end.
    pub(super) fn output(&self, name: &str, line: &str) -> TestResult<Output> {
        Program::new("londiste", self.dir.path())
            .args([format!("{name}.ini")])
            .args(line.split_whitespace())
            .output()
    }

    /// As [`Stage::output`]; it must be a success.
    pub(super) fn run(&self, name: &str, line: &str) -> TestResult<Output> {
        let output = self.output(name, line)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(self.explain(
            name,
            format!("{name} {line}: {}\n{}", output.status, output.stderr),
        ))
    }

    /// As [`Stage::output`]; it must fail with this text.
    pub(super) fn refused(&self, name: &str, line: &str, text: &str) -> TestResult {
        let output = self.output(name, line)?;
        assert!(!output.status.success(), "{name} {line} succeeded");
        assert!(output.stderr.contains(text), "{}", output.stderr);
        Ok(())
    }

    /// Runs `londiste NAME.ini subscriber change-provider DSN`.
    pub(super) fn change_provider(
        &self,
        name: &str,
        to: usize,
        more: &[&str],
    ) -> TestResult<Output> {
        let output = Program::new("londiste", self.dir.path())
            .args([format!("{name}.ini")])
            .args(["subscriber", "change-provider", &self.dsn(to)])
            .args(more)
            .output()?;
        Ok(output)
    }

    /// Runs `londiste NAME.ini subscriber add t u --copy-from DSN`.
    pub(super) fn add_from(&self, name: &str, from: usize) -> TestResult<Output> {
        let dsn = self.dsn(from);
        Program::new("londiste", self.dir.path())
            .args([format!("{name}.ini")])
            .args(["subscriber", "add", "t", "u", "--copy-from", &dsn])
            .output()
    }

    /// As [`Stage::change_provider`]; it must be a success.
    pub(super) fn follow(&self, name: &str, to: usize) -> TestResult {
        let output = self.change_provider(name, to, &["--wait", "30"])?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.explain(name, output.stderr)),
        }
    }

    pub(super) fn replay(&self, name: &str) -> TestResult<Running> {
        self.replay_program(name).spawn()
    }

    pub(super) fn replay_program(&self, name: &str) -> Program {
        Program::new("londiste", self.dir.path()).args(["-v", &format!("{name}.ini"), "replay"])
    }

    /// Starts a ticker on a node.
    pub(super) fn ticker(&self, node: usize) -> TestResult<Running> {
        let name = format!("ticker{node}");
        fs::write(
            self.path(&format!("{name}.ini")),
            format!(
                "[pgqadm]\njob_name = {name}\ndb = {}\nloop_delay = 0.1\nlogfile = {}\npidfile = {}\n",
                self.dsn(node),
                self.path(&format!("{name}.log")).display(),
                self.path(&format!("{name}.pid")).display(),
            ),
        )?;
        let mut db = self.db(node)?;
        db.execute(
            "select pgq.set_queue_config('q', 'ticker_max_lag', '0.2')",
            &[],
        )?;
        db.execute(
            "select pgq.set_queue_config('q', 'ticker_idle_period', '1')",
            &[],
        )?;
        Program::new("pgqadm", self.dir.path())
            .args([&format!("{name}.ini"), "ticker"])
            .spawn()
    }

    /// Makes a job for a subscriber, registers everything there, and starts its replay.
    pub(super) fn subscribe(
        &self,
        name: &str,
        provider: usize,
        subscriber: usize,
    ) -> TestResult<Running> {
        self.job(name, provider, subscriber, "")?;
        self.run(name, "subscriber install")?;
        let replay = self.replay(name)?;
        self.add(name, subscriber)?;
        Ok(replay)
    }

    /// Makes a relay, registers everything there, and starts its replay.
    pub(super) fn relay(
        &self,
        name: &str,
        provider: usize,
        subscriber: usize,
    ) -> TestResult<Running> {
        self.job(
            name,
            provider,
            subscriber,
            "mirror_queue = q\nlocal_wm_publish_period = 0.2\nglobal_wm_publish_period = 0.2",
        )?;
        self.run(name, "subscriber install")?;
        self.run(name, "subscriber relay-init")?;
        let replay = self.replay(name)?;
        self.add(name, subscriber)?;
        self.wait_published(name, subscriber)?;
        Ok(replay)
    }

    fn add(&self, name: &str, subscriber: usize) -> TestResult {
        self.run(name, "subscriber add t u")?;
        self.run(name, "subscriber add-seq s")?;
        self.wait_ok(name, subscriber)
    }

    /// Waits until both tables are replicated.
    pub(super) fn wait_ok(&self, name: &str, node: usize) -> TestResult {
        self.wait(
            name,
            "tables to be ok",
            node,
            "select count(*) = 2 from londiste.subscriber_table where merge_state = 'ok'",
        )
    }

    /// Waits until a relay publishes both tables.
    pub(super) fn wait_published(&self, name: &str, node: usize) -> TestResult {
        self.wait(
            name,
            "tables to be published",
            node,
            "select count(*) = 2 from londiste.provider_table",
        )
    }

    /// Waits until a query on a node answers true.
    pub(super) fn wait(&self, name: &str, what: &str, node: usize, query: &str) -> TestResult {
        wait_until(what, PATIENCE, || {
            Ok(self.db(node)?.query_one(query, &[])?.get(0))
        })
        .map_err(|error| self.explain(name, error.to_string()))
    }

    /// Waits until the job has applied everything that is committed on the root.
    pub(super) fn catch_up(&self, name: &str, root: usize, node: usize) -> TestResult {
        let mut provider = self.db(root)?;
        let mut subscriber = self.db(node)?;
        let xmax: i64 = provider
            .query_one("select txid_snapshot_xmax(txid_current_snapshot())", &[])?
            .get(0);
        wait_until(&format!("{name} to catch up"), PATIENCE, || {
            provider.execute("select pgq.force_tick('q')", &[])?;
            let applied: Option<i64> = subscriber
                .query_one("select londiste.get_last_tick($1)", &[&name])?
                .get(0);
            let row = provider.query_opt(
                "select txid_snapshot_xmin(tick_snapshot) from pgq.tick where tick_id = $1",
                &[&applied],
            )?;
            Ok(row.is_some_and(|row| row.get::<_, i64>(0) >= xmax))
        })
        .map_err(|error| self.explain(name, error.to_string()))
    }

    /// Fails unless both tables hold the same on both nodes; returns the number of rows of the first.
    pub(super) fn assert_equal(&self, left: usize, right: usize) -> TestResult<u64> {
        let mut rows = 0;
        for query in ["select * from u order by id", "select * from t order by id"] {
            let (mut a, mut b) = (self.db(left)?, self.db(right)?);
            let comparison = testkit::compare(&mut a, &mut b, query)?;
            if comparison.difference.is_some() || comparison.left_rows != comparison.right_rows {
                return Err(format!("{query} on {left} and {right}: {comparison:?}").into());
            }
            rows = comparison.left_rows;
        }
        Ok(rows)
    }

    /// Writes on a node, numbers from `first` on.
    pub(super) fn load(&self, node: usize, first: i32) -> TestResult<Load> {
        Ok(Load::start(self.db(node)?, move |db, number| {
            let id = i32::try_from(number)? + first;
            Ok(db.batch_execute(&format!(
                "begin; insert into t values ({id}, 0, 'load'); insert into u values ({id}, {id}, 'a\\b'); \
                 update t set n = n + 1 where id in ({id}, {id} - 3, 1); select nextval('s'); \
                 delete from u where id = {id} - 10; commit"
            ))?)
        }))
    }

    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// An error with the end of a job's log.
    pub(super) fn explain(&self, name: &str, error: impl AsRef<str>) -> testkit::Error {
        let log = self.log(name);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("{}\n{tail}", error.as_ref()).into()
    }
}
