//! `cargo xtask bench walmgr`: WAL into an archive and out of it, base backups there and back.

mod archive;
mod backup;
mod fetch;
mod pgbackrest;
mod restore;
mod site;
mod start;

use self::pgbackrest::PgBackRest;
use self::site::Site;
use super::Common;
use super::report::Report;
use crate::packages::{self, Need};
use crate::process::Interrupt;
use crate::{Result, process};

/// WAL into an archive and out of it, base backups there and back
///
/// Peers are cp, rsync and pg_basebackup, as one would use them by hand, and pgBackRest where it is installed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// Run only these workloads
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<Workload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// From the start of xarchive to its first byte
    Start,
    /// Segments into a directory of the same machine
    Archive,
    /// Segments into a directory behind ssh
    Ssh,
    /// Segments out of the archive
    Fetch,
    /// A base backup
    Backup,
    /// A base backup into service
    Restore,
}

const WORKLOADS: [Workload; 6] = [
    Workload::Start,
    Workload::Archive,
    Workload::Ssh,
    Workload::Fetch,
    Workload::Backup,
    Workload::Restore,
];

/// What a workload works with.
struct Run<'a> {
    common: &'a Common,
    interrupt: &'a Interrupt,
    site: Site,
    /// If it is installed.
    pgbackrest: Option<PgBackRest>,
    report: Report,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    packages::ensure(&[Need::Rsync, Need::Ssh, Need::Sshd], interrupt)?;
    // What is measured is what is in the sources.
    process::succeed(
        process::cargo().args(["build", "--release", "--quiet", "--package", "walmgr"]),
        interrupt,
    )?;
    let site = Site::start(args.common.size(32, 4))?;
    let report = Report::new("walmgr", site.version()?, args.common.rounds);
    let mut run = Run {
        common: &args.common,
        interrupt,
        pgbackrest: PgBackRest::find(&site)?,
        site,
        report,
    };
    for workload in WORKLOADS {
        if args.only.is_empty() || args.only.contains(&workload) {
            eprintln!("{workload:?} ...");
            match workload {
                Workload::Start => start::measure(&mut run)?,
                Workload::Archive => archive::measure_local(&mut run)?,
                Workload::Ssh => archive::measure_ssh(&mut run)?,
                Workload::Fetch => fetch::measure(&mut run)?,
                Workload::Backup => backup::measure(&mut run)?,
                Workload::Restore => restore::measure(&mut run)?,
            }
        }
    }
    if run.pgbackrest.is_none() {
        run.report.note("pgBackRest is not installed");
    }
    Ok(run.report)
}
