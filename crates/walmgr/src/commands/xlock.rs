use std::io::{self, Read};
use std::process::ExitCode;

use tracing::error;

use super::Work;
use crate::Error;
use crate::lock::{self, BackupLock, Denied};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process that the lock is for, as in SkyTools 2.1
    #[arg(required_unless_present = "hold", conflicts_with = "hold", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// Keep the lock until stdin ends, and say `locked ID`
    #[arg(long)]
    hold: bool,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<ExitCode, Error> {
    let archive = &work.slave("xlock")?.completed_wals;
    if work.options.not_really {
        lock::refuse_held(archive)?;
        skytools::app::output("would take the backup lock\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let taken = match args.pid {
        Some(pid) => lock::take_plainly(archive, pid).map(|()| None),
        None => BackupLock::take(archive, "backup", work.options.force).map(Some),
    };
    match taken {
        Ok(Some(lock)) => {
            skytools::app::output(format!("locked {}\n", lock.id))?;
            // Whoever wanted the lock lives as long as its end of the pipe.
            io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink())?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(Denied::Held(owner)) => {
            let pid = owner.pid.map(|pid| pid.to_string()).unwrap_or_default();
            skytools::app::output(format!("{pid}\n"))?;
            error!(
                "the backup lock is held by {}; xrelease removes one that is left over",
                owner.describe()
            );
            Ok(ExitCode::FAILURE)
        }
        Err(Denied::Failed(error)) => Err(error),
    }
}

pub(super) fn release(work: &mut Work<'_>) -> Result<(), Error> {
    let archive = &work.slave("xrelease")?.completed_wals;
    if work.options.not_really {
        return Ok(skytools::app::output("would release the backup lock\n")?);
    }
    lock::release(archive, work.options.force)
}
