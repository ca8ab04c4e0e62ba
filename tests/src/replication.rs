//! A provider, a subscriber, and our programs between them, as an operator would set them up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Client;
use tempfile::TempDir;
use testkit::{Cluster, Job, Output, Program, TestResult, log_problems, wait_until};

/// Patience with anything that is waited for; a loaded machine is slow.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Two servers with a database `shop` each, and a directory with the two ini files.
#[derive(Debug)]
pub struct Replication {
    /// The ticker, once it is started.
    pub ticker: Job,
    /// The replay process, once it is started.
    pub replay: Job,
    /// The copy process, while there is one.
    pub copy: Job,
    /// Where changes come from.
    pub provider: Cluster,
    /// Where changes go to.
    pub subscriber: Cluster,
    dir: TempDir,
}

impl Replication {
    /// Starts the servers and writes `provider_ticker.ini` and `replic.ini`; installs nothing.
    ///
    /// # Errors
    /// A server does not start.
    pub fn prepare() -> TestResult<Replication> {
        Replication::from(Cluster::start()?, Cluster::builder().subscriber().start()?)
    }

    /// As [`Replication::prepare`], with programs that go through TCP.
    ///
    /// # Errors
    /// A server does not start.
    pub fn prepare_tcp(options: &str) -> TestResult<Replication> {
        let subscriber = Cluster::builder().subscriber().tcp().start()?;
        let it = Replication::from(Cluster::builder().tcp().start()?, subscriber)?;
        let [provider, subscriber] = [&it.provider, &it.subscriber].map(|side| {
            format!(
                "host=127.0.0.1 port={} user=postgres dbname=shop {options}",
                side.port()
            )
        });
        it.go_through(&provider, &subscriber, "sync_poll = 0.1")?;
        Ok(it)
    }

    /// As [`Replication::prepare`], with a provider that can publish.
    ///
    /// # Errors
    /// A server does not start.
    pub fn prepare_logical() -> TestResult<Replication> {
        let provider = Cluster::builder().setting("wal_level", "logical");
        Replication::from(provider.start()?, Cluster::builder().subscriber().start()?)
    }

    fn from(provider: Cluster, subscriber: Cluster) -> TestResult<Replication> {
        provider.create_database("shop")?;
        subscriber.create_database("shop")?;
        let dir = tempfile::tempdir()?;
        let path = dir.path();
        fs::write(
            path.join("provider_ticker.ini"),
            format!(
                "[pgqadm]\njob_name = provider_ticker\ndb = {}\nloop_delay = 0.1\n\
                 queue_refresh_period = 1\nexception_sleep = 0.3\n\
                 logfile = provider_ticker.log\npidfile = provider_ticker.pid\n",
                provider.conninfo("shop")
            ),
        )?;
        let it = Replication {
            ticker: Job::new(path.join("provider_ticker.pid")),
            replay: Job::new(path.join("replic.pid")),
            copy: Job::new(path.join("replic.pid.copy")),
            provider,
            subscriber,
            dir,
        };
        it.go_through(
            &it.provider.conninfo("shop"),
            &it.subscriber.conninfo("shop"),
            "",
        )?;
        Ok(it)
    }

    /// Prepares, creates the tables of `sql` on both sides, installs everything and starts the
    /// daemons.
    ///
    /// # Errors
    /// Something of it fails.
    pub fn start(sql: &str) -> TestResult<Replication> {
        let it = Replication::prepare()?;
        it.begin(sql)?;
        Ok(it)
    }

    /// Creates the tables of `sql` on both sides, installs everything and starts the daemons.
    ///
    /// # Errors
    /// Something of it fails.
    pub fn begin(&self, sql: &str) -> TestResult {
        let it = self;
        it.provider_db()?.batch_execute(sql)?;
        it.subscriber_db()?.batch_execute(sql)?;
        it.typed("pgqadm provider_ticker.ini install")?;
        it.typed("londiste replic.ini provider install")?;
        it.typed("londiste replic.ini subscriber install")?;
        it.typed("pgqadm provider_ticker.ini config shop.replic ticker_max_lag=0.2")?;
        it.start_ticker()?;
        it.start_replay()
    }

    /// Has the programs go from one side to the other by these connect strings, which may lead through a
    /// proxy, with more lines in the configuration; before anything is started.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn go_through(&self, provider: &str, subscriber: &str, lines: &str) -> TestResult {
        let text = format!(
            "[londiste]\njob_name = replic\nprovider_db = {provider}\nsubscriber_db = {subscriber}\n\
             pgq_queue_name = shop.replic\nloop_delay = 0.1\nexception_sleep = 0.3\n\
             logfile = replic.log\npidfile = replic.pid\n{lines}\n"
        );
        Ok(fs::write(self.dir().join("replic.ini"), text)?)
    }

    /// Starts the ticker as cron would.
    ///
    /// # Errors
    /// It does not run then.
    pub fn start_ticker(&self) -> TestResult {
        self.typed("pgqadm provider_ticker.ini ticker -d --ensure")?;
        self.ticker.wait_alive(TIMEOUT)?;
        Ok(())
    }

    /// Starts replay as cron would.
    ///
    /// # Errors
    /// It does not run then.
    pub fn start_replay(&self) -> TestResult {
        self.typed("londiste replic.ini replay -d --ensure")?;
        self.replay.wait_alive(TIMEOUT)?;
        Ok(())
    }

    /// Directory of the ini files, pidfiles and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One of our programs with its arguments, as typed in a shell; words are split at blanks.
    pub fn program(&self, line: &str) -> Program {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        Program::new(name, self.dir()).args(words)
    }

    /// Runs a command and insists on exit code 0.
    ///
    /// # Errors
    /// It failed; its output is in the message.
    pub fn typed(&self, line: &str) -> TestResult<Output> {
        self.program(line).succeed()
    }

    /// Runs a command that has to fail with exit code 1 and say `message` on stderr.
    ///
    /// # Errors
    /// It did otherwise.
    pub fn refused(&self, line: &str, message: &str) -> TestResult {
        self.ends(line, 1, message)
    }

    /// Runs a command that has to end with `code` and say `message` on stderr.
    ///
    /// # Errors
    /// It did otherwise.
    pub fn ends(&self, line: &str, code: i32, message: &str) -> TestResult {
        let output = self.program(line).output()?;
        if output.status.code() != Some(code) || !contains(&output.stderr, message) {
            return Err(format!(
                "`{line}` ended with {}, expected {code} and {message:?}:\n{}{}",
                output.status, output.stdout, output.stderr
            )
            .into());
        }
        if contains(&output.stderr, "panicked") || contains(&output.stderr, "backtrace") {
            return Err(format!("`{line}` panicked:\n{}", output.stderr).into());
        }
        Ok(())
    }

    /// Connects to the provider's database.
    ///
    /// # Errors
    /// The server is down.
    pub fn provider_db(&self) -> TestResult<Client> {
        self.provider.connect("shop")
    }

    /// Connects to the subscriber's database.
    ///
    /// # Errors
    /// The server is down.
    pub fn subscriber_db(&self) -> TestResult<Client> {
        self.subscriber.connect("shop")
    }

    /// Path of a log file.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// State of a table on the subscriber; `-` before the copy.
    ///
    /// # Errors
    /// The table is not registered.
    pub fn state(&self, table: &str) -> TestResult<String> {
        Ok(self
            .subscriber_db()?
            .query_one(
                "select coalesce(merge_state, '-') from londiste.subscriber_table \
                 where table_name = $1",
                &[&table],
            )?
            .get(0))
    }

    /// Waits until every registered table is copied and follows the provider.
    ///
    /// # Errors
    /// One does not in time; the logs are in the message.
    pub fn wait_synced(&self) -> TestResult {
        let mut db = self.subscriber_db()?;
        self.wait("every table to be in sync", || {
            let row = db.query_one(
                "select count(*) > 0 and bool_and(merge_state is not distinct from 'ok') \
                 from londiste.subscriber_table",
                &[],
            )?;
            Ok(row.get(0))
        })
    }

    /// Waits until everything committed on the provider so far is on the subscriber: a row of
    /// `table`, made by `insert`, arrives, and `found` asks for it.
    ///
    /// # Errors
    /// It does not in time; the logs are in the message.
    pub fn wait_caught_up(&self, insert: &str, found: &str) -> TestResult {
        self.provider_db()?.batch_execute(insert)?;
        let mut db = self.subscriber_db()?;
        self.wait("the last row to arrive", || {
            Ok(db.query_opt(found, &[])?.is_some())
        })
    }

    /// Waits for a condition; a failure shows the ends of the logs.
    ///
    /// # Errors
    /// It does not hold in time.
    pub fn wait(&self, what: &str, condition: impl FnMut() -> TestResult<bool>) -> TestResult {
        wait_until(what, TIMEOUT, condition).map_err(|error| {
            let mut text = error.to_string();
            for name in ["provider_ticker.log", "replic.log"] {
                let log = fs::read_to_string(self.log(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(30)..].join("\n");
                text.push_str(&format!("\n--- {name}\n{tail}"));
            }
            text.into()
        })
    }

    /// Insists that `query` gives the same rows on both sides; answers how many.
    ///
    /// # Errors
    /// They differ.
    pub fn same(&self, query: &str) -> TestResult<u64> {
        let result = testkit::compare(&mut self.provider_db()?, &mut self.subscriber_db()?, query)?;
        match result.difference {
            None => Ok(result.left_rows),
            Some(_) => Err(format!("the sides differ in {query}: {result:?}").into()),
        }
    }

    /// Insists that neither program logged a warning or an error but the `expected` ones.
    ///
    /// # Errors
    /// There are such records.
    pub fn logs_are_clean_but_for(&self, expected: &[&str]) -> TestResult {
        let mut found = Vec::new();
        for name in ["provider_ticker.log", "replic.log"] {
            for line in log_problems(&self.log(name), expected)? {
                found.push(format!("{name}: {line}"));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(format!("unexpected in the logs:\n{}", found.join("\n")).into())
    }

    /// Stops both daemons as an operator would, and waits until they are gone.
    ///
    /// # Errors
    /// One does not end.
    pub fn stop(&self) -> TestResult {
        self.typed("londiste replic.ini -s")?;
        self.replay.wait_gone(TIMEOUT)?;
        self.typed("pgqadm provider_ticker.ini -s")?;
        self.ticker.wait_gone(TIMEOUT)
    }
}

/// Whether `text` contains `part`, in any case of letters.
pub fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}
