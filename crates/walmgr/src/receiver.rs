//! The streaming receiver: WAL comes to the slave as the master flushes it, not segment by segment.
//!
//! It is written by the server's own program, `pg_receivewal`, into a directory of its own: finished segments under
//! their names, the one that is being filled as `NAME.partial`, of full size. `archive_command` goes on as before;
//! what the archive has is removed here. `syncdaemon` on the slave keeps the program alive.

mod child;
mod files;

use skytools::daemon::{Context, Work, Worker};
use tracing::{info, warn};

use crate::archive::Listing;
use crate::config::{Conninfo, ReceiverConfig, SlaveConfig};
use crate::control::Signal;
use crate::server::{DataDir, run};
use crate::{Config, Error};
use child::Child;
pub(crate) use child::{end, pid};
pub(crate) use files::{purge, unfinished};

/// Longest pause after a failure: commits of the master may be waiting for us.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Makes a physical slot on the master, unless there is one.
///
/// # Errors
/// The program is missing, or the master refuses.
pub(crate) fn create_slot(
    config: &SlaveConfig,
    conninfo: &Conninfo,
    slot: &str,
) -> Result<(), Error> {
    let mut program = DataDir::new(&config.data, config.bin.as_deref()).program("pg_receivewal");
    program
        .args([
            "--create-slot",
            "--if-not-exists",
            "--no-password",
            "--slot",
        ])
        .arg(slot);
    conninfo.pass("--dbname", slot, &mut program);
    run(&mut program).map(|_| ())
}

/// All finished WAL that is here: archived, or streamed and not archived yet; with what is unfinished under
/// names of their own.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn all_wal(config: &SlaveConfig) -> Result<Listing, Error> {
    let listing = Listing::read(&config.completed_wals)?;
    Ok(match &config.receiver {
        Some(receiver) if receiver.dir.is_dir() => listing.and(&receiver.dir)?,
        _ => listing,
    })
}

/// `syncdaemon` on the slave.
pub(crate) struct Daemon {
    config: SlaveConfig,
    child: Option<Child>,
    /// Whether it was said that the slave was opened, and nothing is streamed.
    is_over: bool,
}

impl Daemon {
    /// # Errors
    /// The configuration asks for no receiver.
    pub(crate) fn new(config: SlaveConfig) -> Result<Daemon, Error> {
        need(&config)?;
        Ok(Daemon {
            config,
            child: None,
            is_over: false,
        })
    }
}

/// The receiver of a slave that has to have one.
pub(crate) fn need(config: &SlaveConfig) -> Result<&ReceiverConfig, Error> {
    config.receiver.as_ref().ok_or_else(|| {
        Error::Refused(
            "syncdaemon is for the master, and for a slave that has wal_receiver = pg_receivewal"
                .to_owned(),
        )
    })
}

impl Worker for Daemon {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, _context: &mut Context) -> Result<Work, Error> {
        let receiver = need(&self.config)?;
        if Signal::Stop.is_up(&self.config.completed_wals) {
            // The old master, if it lives, has nothing to say any more.
            self.child = None;
            if !self.is_over {
                info!("the slave was opened by boot: nothing is streamed until the next restore");
                self.is_over = true;
            }
            return Ok(Work::Idle);
        }
        self.is_over = false;
        if let Some(child) = &mut self.child {
            match child.ending()? {
                None => child.report(),
                Some(error) => {
                    self.child = None;
                    files::forget_lost_position(&self.config, receiver, &error)?;
                    return Err(error);
                }
            }
        }
        if self.child.is_none() {
            files::prepare(&self.config, receiver)?;
            self.child = Some(Child::start(&self.config, receiver)?);
            info!(slot = receiver.slot, dir = %receiver.dir.display(), "streaming");
        }
        if let Err(error) = files::check_newest(&self.config, receiver) {
            self.child = None;
            return Err(error);
        }
        files::remove_archived(&self.config, receiver)?;
        Ok(Work::Idle)
    }

    fn recover(&mut self) {
        // A receiver that works is not ended because something else failed.
        if let Some(child) = &mut self.child
            && !matches!(child.ending(), Ok(None))
        {
            self.child = None;
        }
    }

    fn pause_after_failure(&mut self, context: &Context, delay: std::time::Duration) {
        context.stop.pause(delay.min(RETRY));
    }

    fn reload(
        &mut self,
        _common: &skytools::config::CommonConfig,
        config: Config,
    ) -> Result<(), Error> {
        let config = SlaveConfig::new(&config, &self.config.path)?;
        need(&config)?;
        warn!("the receiver is started anew with the new settings");
        self.child = None;
        self.config = config;
        Ok(())
    }
}
