use std::io;
use std::time::Duration;

use super::Work;
use crate::Error;
use crate::backup::{Finished, receive};
use crate::sets::Info;

#[derive(Debug, clap::Args)]
pub(crate) struct BeginArgs {
    /// What the lock was answered with
    lock: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CommitArgs {
    /// What the lock was answered with
    lock: String,
    /// Seconds to wait for the backup's WAL
    wait: u64,
}

fn input<T: serde::de::DeserializeOwned>() -> Result<T, Error> {
    serde_json::from_reader(io::stdin().lock())
        .map_err(|error| Error::Refused(format!("cannot read what the backup says: {error}")))
}

pub(super) fn begin(work: &mut Work<'_>, args: &BeginArgs) -> Result<(), Error> {
    let config = work.slave("xbackup-begin")?;
    let info: Info = input()?;
    let path = receive::begin(config, &args.lock, &info)?;
    Ok(skytools::app::output(format!("{path}\n"))?)
}

pub(super) fn commit(work: &mut Work<'_>, args: &CommitArgs) -> Result<(), Error> {
    let config = work.slave("xbackup-commit")?;
    let finished: Finished = input()?;
    let patience = Duration::from_secs(args.wait);
    let name = receive::commit(config, &args.lock, finished, patience, &work.context.stop)?;
    Ok(skytools::app::output(format!("{name}\n"))?)
}
