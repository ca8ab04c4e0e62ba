//! What is to be restored, as it is said on the command line.

use std::path::{Path, PathBuf};

use super::PointInTime;
use crate::Error;

/// A set, where it goes, and how far it is replayed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// Set to restore: name, number or id; it is copied, and stays. Without it the newest is put into service
    #[arg(value_name = "SET")]
    wanted: Option<String>,
    /// Directory to make ready instead of `slave_data`; no server is stopped or started. Needed on the master
    #[arg(value_name = "DST", conflicts_with = "to")]
    destination: Option<PathBuf>,
    /// DST, also where the newest set is meant
    #[arg(long, value_name = "DST")]
    to: Option<PathBuf>,
    #[command(flatten)]
    pub(super) point: PointInTime,
    /// Copy the set, even if it could be moved
    #[arg(long)]
    pub(super) copy: bool,
    /// Look before whether the files of the set are what they were: so up to 100 GB
    #[arg(long, overrides_with = "no_verify")]
    verify: bool,
    /// Do not look
    #[arg(long, overrides_with = "verify")]
    no_verify: bool,
}

impl Wanted {
    /// The set that somebody means; `None`: the newest.
    pub(super) fn set(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// Where it goes, if not into the place of the slave's data directory.
    pub(crate) fn destination(&self) -> Option<&Path> {
        self.destination.as_deref().or(self.to.as_deref())
    }

    /// Whether the files shall be read before; `None`: that depends on their size.
    pub(super) fn verify(&self) -> Option<bool> {
        match (self.verify, self.no_verify) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// # Errors
    /// Parts of it contradict each other.
    pub(super) fn check(&self) -> Result<(), Error> {
        let follows = !self.point.is_wanted() && self.destination().is_none();
        match follows && self.point.use_partial {
            true => Err(Error::Refused(
                "--use-partial goes with a target or with DST: a standby replays the unfinished segment when \
                 boot is called"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// The set and the target as arguments of this program, for the slave that looks for a set.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = self.point.option().into_iter().collect();
        words.extend(self.verify().map(|verify| match verify {
            true => "--verify".to_owned(),
            false => "--no-verify".to_owned(),
        }));
        words.extend(self.wanted.clone());
        words
    }
}
