//! `check`: everything that has to be in order, one line each.

mod master;
mod probe;
mod slave;
mod standby;

use std::process::ExitCode;
use std::time::Duration;

use super::{Node, Work};
use crate::Error;
use crate::report::{Form, Report};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One line, and exit codes 0, 1 and 2, as monitoring plugins have them
    #[arg(long)]
    nagios: bool,
    /// Age in seconds at which a base backup is too old
    #[arg(long, value_name = "SECONDS", default_value = "604800")]
    max_backup_age: u64,
    /// Seconds that WAL may wait to be archived
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    max_archive_age: u64,
    /// On the master: do not end a segment to see it arrive
    #[arg(long)]
    no_probe: bool,
    /// Seconds that a segment may take to arrive
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    probe_timeout: u64,
}

impl Args {
    fn backup_age(&self) -> Duration {
        Duration::from_secs(self.max_backup_age)
    }

    /// What the slave is asked for.
    fn for_slave(&self) -> [String; 3] {
        let age = format!("--max-backup-age={}", self.max_backup_age);
        ["check".to_owned(), "--json".to_owned(), age]
    }

    /// How long a segment may take to arrive, if one shall be sent.
    fn probe(&self) -> Option<Duration> {
        (!self.no_probe).then(|| Duration::from_secs(self.probe_timeout))
    }

    fn archive_age(&self) -> Duration {
        Duration::from_secs(self.max_archive_age)
    }
}

/// Exit code 3 if something failed.
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<ExitCode, Error> {
    let mut report = Report::default();
    match &work.node {
        Node::Master(config) => master::check(config, args, &mut report),
        Node::Slave(config) => slave::check(config, args, &mut report),
    }
    report.show(match (args.nagios, work.options.json) {
        (true, _) => Form::Nagios,
        (false, true) => Form::Json,
        (false, false) => Form::Text,
    })
}
