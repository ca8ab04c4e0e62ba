use std::process::ExitCode;

use jiff::Timestamp;
use skytools::app::chain;
use skytools::failpoint;
use tracing::warn;

use super::Work;
use crate::Error;
use crate::archive::Archive;
use crate::config::SlaveConfig;
use crate::lock::BackupLock;
use crate::report::{Form, Level, Report};
use crate::sets::{Held, Info, Set, Sets, manifest, verify};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set to look at: name, number or id; the newest if none is named
    #[arg(value_name = "SET")]
    wanted: Option<String>,
    /// All sets
    #[arg(long, conflicts_with = "wanted")]
    all: bool,
    /// Only the WAL, and not the files of the sets
    #[arg(long)]
    wal_only: bool,
}

/// Exit code 3 if something is not as it was.
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<ExitCode, Error> {
    let config = work.slave("verify")?;
    let sets = Sets::new(config);
    let chosen = match args.all {
        true => sets.find()?.sets,
        false => vec![sets.choose(args.wanted.as_deref())?],
    };
    // All at once, before one takes its time.
    let held: Vec<Held> = chosen.iter().map(Held::share).collect::<Result<_, _>>()?;
    failpoint::step("verify.begun");
    let archive = Archive::new(&config.completed_wals);
    let mut report = Report::default();
    for (set, held) in chosen.iter().zip(&held) {
        let mut is_well = true;
        if !args.wal_only {
            let problems = verify::set_problems(set, held)?;
            is_well = problems.is_empty();
            add(&mut report, &set.name, problems, || {
                "every file is as it was".to_owned()
            });
        }
        let (problems, count) = verify::wal_problems(&archive, set.start())?;
        is_well &= problems.is_empty();
        let name = format!("{} WAL", set.name);
        add(&mut report, &name, problems, || {
            format!("{count} segments from {} on", set.start())
        });
        if is_well && !args.wal_only && !work.options.not_really {
            failpoint::step("verify.done");
            if let Err(error) = note(config, set) {
                warn!(set = %set.name, "not noted as verified: {}", chain(&error));
            }
        }
    }
    report.show(match work.options.json {
        true => Form::Json,
        false => Form::Text,
    })
}

fn add(report: &mut Report, name: &str, problems: Vec<String>, well: impl Fn() -> String) {
    if problems.is_empty() {
        report.add(name, Level::Ok, well());
    }
    for problem in problems {
        report.add(name, Level::Failed, problem);
    }
}

/// Notes in a set that it has been verified, if it still has its name: a backup gives that to the next one.
fn note(config: &SlaveConfig, set: &Set) -> Result<(), Error> {
    let Some(verified) = &set.info else {
        return Ok(());
    };
    let _lock = BackupLock::need(&config.completed_wals, "verify", false)?;
    match Info::read(&set.path)? {
        Some(mut info) if info.id == verified.id => {
            info.verified_at = Some(format!("{:.0}", Timestamp::now()));
            info.write(&set.path)?;
            manifest::refresh(&set.path)
        }
        _ => Err(Error::Refused(
            "it has another name, or is gone, since it was read".to_owned(),
        )),
    }
}
