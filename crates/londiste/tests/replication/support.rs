//! A provider, a subscriber, a ticker, and the programs that work on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::Client;
use testkit::{Cluster, Job, Program, Running, TestResult, wait_until};

/// Longest wait for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A table.
pub(crate) const SIMPLE: &str = "create table t (id int primary key, data text)";

/// What is in it.
pub(crate) const ALL: &str = "select * from t order by id";

/// Database of either side.
const DATABASE: &str = "shop";

/// Two servers that replicate, with PgQ and Londiste installed and the ticker running.
pub(crate) struct Pair {
    pub(crate) provider: Cluster,
    pub(crate) subscriber: Cluster,
    pub(crate) ticker: Option<Running>,
    // Killed before the directory goes.
    copies: Vec<Job>,
    dir: tempfile::TempDir,
}

/// How tests run replay.
#[derive(Debug, Default, Clone)]
pub(crate) struct Setting {
    /// Lines for the section `[londiste]`.
    pub(crate) lines: &'static str,
    /// SQL run on both sides before anything is installed.
    pub(crate) schema: &'static str,
    /// Encoding of the databases; UTF8 if empty.
    pub(crate) encoding: &'static str,
    /// Encoding of the subscriber's; that of both if empty.
    pub(crate) encoding_there: &'static str,
}

impl Pair {
    /// Both sides have `schema`.
    pub(crate) fn start(schema: &'static str) -> TestResult<Pair> {
        Pair::with(Setting {
            schema,
            ..Setting::default()
        })
    }

    /// The table `t` of both sides is replicated.
    pub(crate) fn replicating(setting: Setting) -> TestResult<(Pair, Running)> {
        let pair = Pair::with(setting)?;
        let replay = pair.replay()?;
        pair.add(&["t"])?;
        pair.wait_ok(&["public.t"])?;
        Ok((pair, replay))
    }

    /// As [`Pair::replicating`], with the table [`SIMPLE`].
    pub(crate) fn simple() -> TestResult<(Pair, Running)> {
        Pair::replicating(Setting {
            schema: SIMPLE,
            ..Setting::default()
        })
    }

    pub(crate) fn with(setting: Setting) -> TestResult<Pair> {
        let dir = tempfile::tempdir()?;
        let pair = Pair {
            provider: Cluster::start()?,
            subscriber: Cluster::builder().subscriber().start()?,
            ticker: None,
            copies: vec![Job::new(dir.path().join("replay.pid.copy"))],
            dir,
        };
        let there = match setting.encoding_there {
            "" => setting.encoding,
            encoding => encoding,
        };
        for (side, encoding) in [
            (&pair.provider, setting.encoding),
            (&pair.subscriber, there),
        ] {
            let options = match encoding {
                "" => String::new(),
                encoding => format!("encoding '{encoding}' locale 'C'"),
            };
            side.connect("postgres")?.batch_execute(&format!(
                "create database {DATABASE} template template0 {options}"
            ))?;
        }
        pair.write_ini("replay", setting.lines)?;
        pair.write_ticker_ini()?;
        for side in [&pair.provider, &pair.subscriber] {
            side.connect(DATABASE)?.batch_execute(setting.schema)?;
        }
        pair.run("pgqadm", &["ticker.ini", "install"])?;
        pair.londiste(&["provider", "install"])?;
        pair.londiste(&["subscriber", "install"])?;
        let mut pair = pair;
        pair.start_ticker()?;
        Ok(pair)
    }

    /// Writes `NAME.ini` for a job of that name, with more lines in its section.
    pub(crate) fn write_ini(&self, name: &str, lines: &str) -> TestResult {
        fs::write(
            self.dir.path().join(format!("{name}.ini")),
            format!(
                "[londiste]\njob_name = {name}\nprovider_db = {}\nsubscriber_db = {}\n\
                 pgq_queue_name = q\npidfile = {}\nlogfile = {}\nloop_delay = 0.1\n\
                 exception_sleep = 0.3\nsync_poll = 0.05\n{lines}\n",
                self.provider.conninfo(DATABASE),
                self.subscriber.conninfo(DATABASE),
                self.path(&format!("{name}.pid")).display(),
                self.path(&format!("{name}.log")).display(),
            ),
        )?;
        Ok(())
    }

    fn write_ticker_ini(&self) -> TestResult {
        let text = format!(
            "[pgqadm]\njob_name = ticker\ndb = {}\nloop_delay = 0.1\nexception_sleep = 0.3\nlogfile = {}\n\
             pidfile = {}\n",
            self.provider.conninfo(DATABASE),
            self.path("ticker.log").display(),
            self.path("ticker.pid").display(),
        );
        Ok(fs::write(self.path("ticker.ini"), text)?)
    }

    /// Takes the place of the provider, for replay and ticker that are started from now on.
    pub(crate) fn provide_from(&mut self, cluster: Cluster) -> TestResult {
        self.ticker = None;
        self.provider = cluster;
        self.write_ini("replay", "")?;
        self.write_ticker_ini()
    }

    /// Takes the place of the subscriber, for replay that is started from now on.
    pub(crate) fn subscribe_in(&mut self, cluster: Cluster) -> TestResult {
        self.subscriber = cluster;
        self.write_ini("replay", "")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whether the provider's installation has the programs.
    pub(crate) fn has(&self, programs: &[&str]) -> bool {
        let bindir = self.provider.bindir();
        programs.iter().all(|program| bindir.join(program).exists())
    }

    /// Starts the ticker, in place of one that runs.
    pub(crate) fn start_ticker(&mut self) -> TestResult {
        // One that still runs would make the new one refuse to start.
        self.ticker = None;
        let ticker = Program::new("pgqadm", self.dir())
            .args(["ticker.ini", "ticker"])
            .spawn()?;
        self.ticker = Some(ticker);
        Ok(())
    }

    fn run(&self, program: &str, args: &[&str]) -> TestResult<testkit::Output> {
        Program::new(program, self.dir()).args(args).succeed()
    }

    /// Runs `londiste replay.ini …` to its end, which must be a success.
    pub(crate) fn londiste(&self, args: &[&str]) -> TestResult<testkit::Output> {
        let mut all = vec!["replay.ini"];
        all.extend(args);
        self.run("londiste", &all)
    }

    /// Starts `londiste replay.ini replay`.
    pub(crate) fn replay(&self) -> TestResult<Running> {
        self.replay_program().spawn()
    }

    /// `londiste -v replay.ini replay`, to be given an environment.
    pub(crate) fn replay_program(&self) -> Program {
        Program::new("londiste", self.dir()).args(["-v", "replay.ini", "replay"])
    }

    /// Registers tables on both sides.
    pub(crate) fn add(&self, tables: &[&str]) -> TestResult {
        self.add_on_provider(tables)?;
        self.add_on_subscriber(tables)
    }

    pub(crate) fn add_on_provider(&self, tables: &[&str]) -> TestResult {
        let mut args = vec!["provider", "add"];
        args.extend(tables);
        self.londiste(&args).map(|_| ())
    }

    pub(crate) fn add_on_subscriber(&self, tables: &[&str]) -> TestResult {
        let mut args = vec!["subscriber", "add"];
        args.extend(tables);
        self.londiste(&args).map(|_| ())
    }

    pub(crate) fn provider(&self) -> TestResult<Client> {
        self.provider.connect(DATABASE)
    }

    pub(crate) fn subscriber(&self) -> TestResult<Client> {
        self.subscriber.connect(DATABASE)
    }

    /// State of a subscribed table; `-` is null, the empty text a table that is not subscribed.
    pub(crate) fn state(&self, table: &str) -> TestResult<String> {
        let row = self.subscriber()?.query_opt(
            "select coalesce(merge_state, '-') from londiste.subscriber_table \
             where table_name = $1",
            &[&table],
        )?;
        Ok(row.map_or_else(String::new, |row| row.get(0)))
    }

    pub(crate) fn wait_state(&self, table: &str, state: &str) -> TestResult {
        wait_until(&format!("{table} to be {state}"), PATIENCE, || {
            Ok(self.state(table)?.starts_with(state))
        })
        .map_err(|error| self.explain(error))
    }

    /// Waits until the copy has filled the table.
    pub(crate) fn wait_copied(&self, table: &str) -> TestResult {
        let copied = ["catching-up", "wanna-sync", "do-sync", "ok"];
        wait_until(&format!("{table} to be copied"), PATIENCE, || {
            let state = self.state(table)?;
            Ok(copied.iter().any(|copied| state.starts_with(copied)))
        })
        .map_err(|error| self.explain(error))
    }

    pub(crate) fn wait_ok(&self, tables: &[&str]) -> TestResult {
        tables
            .iter()
            .try_for_each(|table| self.wait_state(table, "ok"))
    }

    /// Waits until replay has applied everything committed on the provider so far.
    pub(crate) fn catch_up(&self) -> TestResult {
        self.catch_up_within(PATIENCE)
    }

    /// As [`Pair::catch_up`], for what may take longer.
    pub(crate) fn catch_up_within(&self, patience: Duration) -> TestResult {
        let mut provider = self.provider()?;
        let mut subscriber = self.subscriber()?;
        let xmax: i64 = provider
            .query_one(
                "select pg_snapshot_xmax(pg_current_snapshot())::text::int8",
                &[],
            )?
            .get(0);
        wait_until("replay to catch up", patience, || {
            provider.execute("select pgq.force_tick('q')", &[])?;
            let applied: Option<i64> = subscriber
                .query_one("select londiste.get_last_tick('replay')", &[])?
                .get(0);
            let Some(applied) = applied else {
                return Ok(false);
            };
            let caught_up = provider.query_opt(
                "select pg_snapshot_xmin(tick_snapshot::text::pg_snapshot)::text::int8 \
                 from pgq.tick where tick_id = $1",
                &[&applied],
            )?;
            Ok(caught_up.is_some_and(|row| row.get::<_, i64>(0) >= xmax))
        })
        .map_err(|error| self.explain(error))
    }

    /// Asks for a tick; returns the newest one, and the one that replay has applied.
    pub(crate) fn force_tick(&self) -> TestResult<(i64, i64)> {
        let newest = self
            .provider()?
            .query_one("select pgq.force_tick('q')", &[])?
            .get(0);
        let applied = self
            .subscriber()?
            .query_one("select coalesce(londiste.get_last_tick('replay'), 0)", &[])?
            .get(0);
        Ok((newest, applied))
    }

    /// Waits until replay has applied what is committed, though other transactions are open.
    pub(crate) fn catch_up_to_open(&self) -> TestResult {
        let mut newest: Option<i64> = None;
        wait_until("replay to pass two new ticks", PATIENCE, || {
            let (last, applied) = self.force_tick()?;
            let goal = *newest.get_or_insert(last + 2);
            Ok(applied >= goal)
        })
        .map_err(|error| self.explain(error))
    }

    /// Fails unless the results of the query are equal on both sides; returns the number of rows.
    pub(crate) fn assert_equal(&self, query: &str) -> TestResult<u64> {
        let comparison = testkit::compare(&mut self.provider()?, &mut self.subscriber()?, query)?;
        if comparison.difference.is_some() || comparison.left_rows != comparison.right_rows {
            return Err(self.explain(format!("{query}: {comparison:?}").into()));
        }
        Ok(comparison.left_rows)
    }

    /// Fails if copies left consumers or positions behind; waits for the last to go.
    pub(crate) fn assert_tidy(&self) -> TestResult {
        wait_until("copies to leave nothing behind", PATIENCE, || {
            let consumers: i64 = self
                .provider()?
                .query_one("select count(*) from pgq.get_consumer_info('q')", &[])?
                .get(0);
            let positions: i64 = self
                .subscriber()?
                .query_one("select count(*) from londiste.completed", &[])?
                .get(0);
            Ok(consumers == 1
                && positions == 1
                && self.copies.iter().all(|copy| copy.pid().is_none()))
        })
        .map_err(|error| self.explain(error))
    }

    /// Fails if anything was logged that an operator has to look at.
    pub(crate) fn assert_quiet(&self) -> TestResult {
        let problems = testkit::log_problems(&self.path("replay.log"), &[])?;
        assert!(problems.is_empty(), "{problems:#?}");
        Ok(())
    }

    pub(crate) fn log(&self) -> TestResult<String> {
        let path = self.path("replay.log");
        Ok(match path.exists() {
            true => fs::read_to_string(path)?,
            false => String::new(),
        })
    }

    pub(crate) fn wait_log(&self, text: &str) -> TestResult {
        wait_until(&format!("{text:?} in the log"), PATIENCE, || {
            Ok(self.log()?.contains(text))
        })
        .map_err(|error| self.explain(error))
    }

    /// An error with the end of the job's log.
    pub(crate) fn explain(&self, error: testkit::Error) -> testkit::Error {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        format!("{error}\n{tail}").into()
    }

    /// Process id of the copy, if one runs.
    pub(crate) fn copy_pid(&self) -> Option<rustix::process::Pid> {
        self.copies[0].pid()
    }

    pub(crate) fn kill_copy(&self) -> TestResult {
        self.copies[0].kill()
    }
}

/// Runs statements on a database until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<TestResult<u64>>>,
}

impl Load {
    /// Calls `step` with growing numbers.
    pub(crate) fn start(
        mut client: Client,
        mut step: impl FnMut(&mut Client, u64) -> TestResult + Send + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                step(&mut client, number)?;
                number += 1;
            }
            Ok(number)
        });
        Load {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it; returns how many steps it made.
    pub(crate) fn finish(mut self) -> TestResult<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is finished once");
        thread.join().map_err(|_| "the load panicked")?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The test has failed already.
            let _ = thread.join();
        }
    }
}
