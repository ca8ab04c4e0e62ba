//! A small program on the frame of all programs: counts rounds into a file, and fails when told to.
//!
//! The tests of the frame run it; it also shows what a program consists of.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use skytools::app::{self, CommonArgs, Program, Service, UsageError};
use skytools::config::CommonConfig;
use skytools::conninfo::{ConnInfo, ConnInfoError};
use skytools::daemon::{Context, Job, JobError, Work, Worker};
use skytools::db::{Database, DbError, During};

fn main() -> ExitCode {
    app::main(run)
}

/// Count rounds
#[derive(Debug, clap::Parser)]
#[command(name = "job")]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count until stopped
    Count,
    /// Say what the key `greeting` holds
    Greet {
        /// Whom to greet
        name: String,
    },
    /// Wait for a stop request
    Wait,
    /// Fail
    Fail,
    /// Find a difference
    Compare,
    /// Write records until the log has had its share
    Chatter {
        /// Number of records
        records: u32,
    },
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "job",
        sections: &["job", "job3"],
        sample: include_str!("job.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Keys of this program.
#[derive(Debug, serde::Deserialize)]
struct Config {
    /// File that holds the number of rounds.
    #[serde(with = "skytools::config::file", default = "counter")]
    counter: PathBuf,
    /// What to say.
    #[serde(default, alias = "salute")]
    greeting: Option<String>,
    /// File whose existence makes a round fail with its content.
    #[serde(default, with = "skytools::config::optional_file")]
    failure: Option<PathBuf>,
    /// File that gets the number of rounds at an orderly end.
    #[serde(default, with = "skytools::config::optional_file")]
    total: Option<PathBuf>,
    /// Length of a round, in seconds.
    #[serde(default, with = "skytools::config::seconds")]
    round: Duration,
    /// Connect string of a database that each round asks.
    #[serde(default)]
    db: Option<String>,
    /// What to ask it.
    #[serde(default = "question")]
    query: String,
    /// Channel on which it says that there is something to count.
    #[serde(default)]
    channel: Option<String>,
}

fn question() -> String {
    "select 1".to_owned()
}

fn counter() -> PathBuf {
    PathBuf::from("counter")
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("cannot write the counter")]
    Counter(#[source] io::Error),
    #[error("cannot greet")]
    Output(#[source] io::Error),
    #[error("cannot go on")]
    Told(#[source] Told),
    #[error("db is no connect string")]
    ConnInfo(#[source] ConnInfoError),
    #[error(transparent)]
    Db(#[from] DbError),
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

fn run(args: Args) -> Result<ExitCode, Error> {
    let job = Job::<Config>::open(&args)?;
    if let Some(signal) = job.signal_request() {
        job.deliver(signal);
        return Ok(ExitCode::SUCCESS);
    }
    let command = args.command.ok_or(UsageError::NeedCommand);
    match command.map_err(JobError::from)? {
        Command::Count => job.run(Counter::start)?,
        Command::Greet { name } => job.without_pidfile().run_command(|job, _| {
            let greeting = job.config.greeting.as_deref().unwrap_or("hello");
            app::output(format_args!("{greeting} {name}\n")).map_err(Error::Output)
        })?,
        Command::Wait => job
            .with_pidfile_suffix(".admin")
            .run_command(|_, context| wait(context))?,
        Command::Fail => job
            .with_pidfile_suffix(".admin")
            .run_command(|_, _| Err::<(), _>(Error::Told(Told("as told".to_owned()))))?,
        Command::Compare => {
            return Ok(job
                .with_pidfile_suffix(".admin")
                .run_command(|_, _| compare())?);
        }
        Command::Chatter { records } => job.without_pidfile().run_command(|_, _| {
            for record in 0..records {
                tracing::info!(record, "chatter");
            }
            Ok::<(), Error>(())
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the records here the first is one whose text is fixed; the others speak of the table.
fn compare() -> Result<ExitCode, Error> {
    let _table = tracing::info_span!("compare", table = "public.users").entered();
    tracing::info!("Comparing");
    tracing::warn!(rows = 3, note = "two words", "rows differ");
    tracing::debug!("done");
    Ok(ExitCode::from(3))
}

fn wait(context: &mut Context) -> Result<(), Error> {
    tracing::info!("waiting");
    while !context.stop.sleep(Duration::from_secs(60)) {}
    tracing::info!("done waiting");
    Ok(())
}

struct Counter {
    config: Config,
    rounds: u64,
    db: Option<Database>,
}

impl Counter {
    fn start(job: &Job<Config>) -> Result<Counter, Error> {
        // A second copy of the configuration: the job keeps its own.
        let config: Config = job.settings.main().map_err(JobError::from)?;
        if config.greeting.as_deref() == Some("refuse") {
            return Err(Error::Told(Told("greeting refused".to_owned())));
        }
        tracing::info!("counting");
        Ok(Counter {
            db: database(&config, &job.common)?,
            config,
            rounds: 0,
        })
    }
}

fn database(config: &Config, common: &CommonConfig) -> Result<Option<Database>, Error> {
    let Some(text) = &config.db else {
        return Ok(None);
    };
    let conninfo = ConnInfo::parse(text).map_err(Error::ConnInfo)?;
    let mut db = Database::new(
        "db",
        conninfo.with_application_name(&common.job_name),
        common.connection_lifetime,
    );
    if let Some(channel) = &config.channel {
        db.listen(channel);
    }
    Ok(Some(db))
}

impl Worker for Counter {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        context.stats.increase("rounds", 1);
        if !self.config.round.is_zero() {
            // A batch does not stop in the middle.
            let batch = skytools::daemon::Stop::default();
            tracing::info!("round begins");
            batch.sleep(self.config.round);
            tracing::info!("round ends");
        }
        if let Some(path) = &self.config.failure
            && let Ok(reason) = fs::read_to_string(path)
        {
            return Err(Error::Told(Told(reason)));
        }
        if let Some(db) = &mut self.db {
            db.connection()?
                .batch_execute(&self.config.query)
                .during("ask")?;
        }
        self.rounds += 1;
        fs::write(&self.config.counter, self.rounds.to_string()).map_err(Error::Counter)?;
        Ok(Work::Idle)
    }

    fn recover(&mut self) {
        tracing::info!("connections dropped");
        if let Some(db) = &mut self.db {
            db.reset();
        }
    }

    fn between(&mut self) {
        if let Some(db) = &mut self.db {
            db.expire();
        }
    }

    fn pause(&mut self, context: &Context, delay: Duration) {
        match &mut self.db {
            Some(db) => context.wait_for_notification(db, delay),
            None => {
                context.stop.pause(delay);
            }
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        match &self.config.total {
            Some(path) => fs::write(path, self.rounds.to_string()).map_err(Error::Counter),
            None => Ok(()),
        }
    }

    fn reload(&mut self, common: &CommonConfig, config: Config) -> Result<(), Error> {
        if config.greeting.as_deref() == Some("refuse") {
            return Err(Error::Told(Told("greeting refused".to_owned())));
        }
        self.db = database(&config, common)?;
        self.config = config;
        Ok(())
    }

    fn is_fatal(&self, error: &Error) -> bool {
        matches!(error, Error::Told(Told(reason)) if reason.starts_with("fatal"))
    }
}
