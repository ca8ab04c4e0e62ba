use skytools::daemon::Signal;
use tracing::{info, warn};

use super::Work;
use crate::Error;
use crate::config::MasterConfig;
use crate::server::change::{Change, Setting};
use crate::server::shell;
use crate::slave::Slave;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also restart the server with as little WAL as it can write, as SkyTools 2.1 did: nothing can stream from it
    #[arg(long)]
    minimal: bool,
}

/// `stop`: archiving is off, and WAL does not pile up.
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.master("stop")?;
    let mut change = Change::begin(config)?;
    let mut settings = Vec::new();
    let restart = match args.minimal {
        true => Some(need_restart_cmd(config)?),
        false => None,
    };
    match restart {
        // In an order in which each file between is one that the server starts with.
        Some(_) => settings.extend([
            Setting::new("max_wal_senders", "0"),
            Setting::new("archive_mode", "off"),
            Setting::new("wal_level", "minimal"),
            Setting::new("archive_command", ""),
        ]),
        None => settings.push(Setting::new("archive_command", "/bin/true")),
    }
    let waits_for_standbys = change
        .current("synchronous_standby_names")
        .is_some_and(|names| !names.is_empty());
    if waits_for_standbys {
        settings.push(Setting::new("synchronous_standby_names", ""));
    }
    if work.options.not_really {
        return Ok(skytools::app::output(change.show(&settings)?)?);
    }
    change.apply(&settings)?;
    match restart {
        Some(command) => {
            info!(command, "restarting the server");
            shell("master_restart_cmd", command)?;
        }
        None => change.reload()?,
    }
    change.verify(&settings)?;
    if waits_for_standbys {
        warn!("synchronous_standby_names is empty now: commits wait for no standby");
    }
    warn!(
        "archiving is off: base backups are good up to this moment only, and after the next setup a new one is \
         needed"
    );
    // Noted where the archive is; it is off, whether that can be noted or not.
    if let Err(error) = Slave::new(config).and_then(|slave| slave.run(&["xstopped"], None)) {
        warn!("the slave does not know: {}", skytools::app::chain(&error));
    }
    if work.job.common.pidfile.is_some() {
        info!("stopping syncdaemon, if it runs");
        work.job.deliver(Signal::Stop);
    }
    Ok(())
}

/// Between the change and a restart the server would archive nothing and keep everything.
fn need_restart_cmd(config: &MasterConfig) -> Result<&str, Error> {
    config.restart_cmd.as_deref().ok_or_else(|| {
        Error::Refused(
            "stop --minimal needs master_restart_cmd: the settings only count after a restart"
                .to_owned(),
        )
    })
}
