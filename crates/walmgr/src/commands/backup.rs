use skytools::app::chain;
use tracing::{info, warn};

use super::{Node, Work};
use crate::backup::receive;
use crate::config::SlaveConfig;
use crate::lock::{self, BackupLock};
use crate::sets::retention;
use crate::slave::Slave;
use crate::{Error, backup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// On the slave: stop a standby that takes no connections, copy it, and start it again
    #[arg(long)]
    stop_standby: bool,
    /// Make a set of the last copy, which was whole when the backup failed because its WAL had not come
    #[arg(long, conflicts_with = "stop_standby")]
    finish: bool,
    /// On the master, with rsync: go on with a copy that was interrupted, and compare what has been copied
    #[arg(long, conflicts_with_all = ["stop_standby", "finish"])]
    resume: bool,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let stop = &work.context.stop;
    match &work.node {
        Node::Master(config) if args.finish => {
            let mut words = vec!["backup", "--finish"];
            words.extend(work.options.not_really.then_some("--not-really"));
            let said = Slave::new(config)?.run(&words, None)?;
            Ok(skytools::app::output(said)?)
        }
        Node::Master(config) => backup::run(config, args.resume, work.options, stop),
        Node::Slave(config) if args.finish => finish(work, config),
        Node::Slave(_) if args.resume => Err(Error::Refused(
            "--resume: a copy of the standby always begins anew; leave it out".to_owned(),
        )),
        Node::Slave(config) => backup::standby::run(config, args.stop_standby, work.options, stop),
    }
}

/// What is left to be done of a backup whose WAL came late.
fn finish(work: &Work<'_>, config: &SlaveConfig) -> Result<(), Error> {
    if work.options.not_really {
        lock::refuse_held(&config.completed_wals)?;
        return Ok(skytools::app::output(format!(
            "would wait for the WAL of {}.inprogress, make it the newest set, and purge WAL\n",
            config.full_backup.display()
        ))?);
    }
    let held = BackupLock::need(&config.completed_wals, "backup", work.options.force)?;
    let stop = &work.context.stop;
    let set = receive::finish(config, &held.id, config.wal_timeout, stop)?;
    drop(held);
    info!(%set, "Full backup successful");
    if let Err(error) = retention::purge(config, None, false) {
        warn!("WAL is not purged: {}", chain(&error));
    }
    Ok(())
}
