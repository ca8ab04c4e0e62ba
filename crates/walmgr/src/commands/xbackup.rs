use std::io;
use std::time::Duration;

use super::Work;
use crate::Error;
use crate::backup::{Finished, pull, receive};
use crate::sets::Info;

#[derive(Debug, clap::Args)]
pub(crate) struct BeginArgs {
    /// What the lock was answered with
    lock: String,
    /// Keep what an earlier backup has copied
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// What the lock was answered with; without it, only look whether a copy can be fetched
    lock: Option<String>,
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
    let begun = receive::begin(config, &args.lock, &info, args.resume)?;
    let word = if begun.has_content { "resumed\n" } else { "" };
    Ok(skytools::app::output(format!("{}\n{word}", begun.path))?)
}

pub(super) fn fetch(work: &mut Work<'_>, args: &FetchArgs) -> Result<(), Error> {
    let config = work.slave("xbackup-fetch")?;
    let order: pull::Order = input()?;
    let Some(lock) = &args.lock else {
        return pull::look(config, &order);
    };
    let fetched = pull::fetch(config, lock, &order, &work.context.stop)?;
    let text = serde_json::to_string(&fetched).map_err(io::Error::from)?;
    Ok(skytools::app::output(format!("{text}\n"))?)
}

pub(super) fn commit(work: &mut Work<'_>, args: &CommitArgs) -> Result<(), Error> {
    let config = work.slave("xbackup-commit")?;
    let finished: Finished = input()?;
    let patience = Duration::from_secs(args.wait);
    let name = receive::commit(config, &args.lock, finished, patience, &work.context.stop)?;
    Ok(skytools::app::output(format!("{name}\n"))?)
}
