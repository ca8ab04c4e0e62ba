use std::process::ExitCode;

use jiff::Timestamp;
use tracing::warn;

use super::Work;
use crate::Error;
use crate::archive::Archive;
use crate::report::{Form, Level, Report};
use crate::sets::{Set, Sets, manifest, verify};

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
    let archive = Archive::new(&config.completed_wals);
    let mut report = Report::default();
    for set in &chosen {
        let mut is_well = true;
        if !args.wal_only {
            let problems = verify::set_problems(set)?;
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
            note(set);
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

/// Notes in a set that it has been verified; it is no less well where that cannot be.
fn note(set: &Set) {
    let Some(info) = &set.info else {
        return;
    };
    let mut info = info.clone();
    info.verified_at = Some(format!("{:.0}", Timestamp::now()));
    let noted = info
        .write(&set.path)
        .and_then(|()| manifest::refresh(&set.path));
    if let Err(error) = noted {
        warn!("{}", skytools::app::chain(&error));
    }
}
