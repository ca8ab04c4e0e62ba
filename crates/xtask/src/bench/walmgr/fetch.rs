//! Segments out of the archive, one command each, as a standby asks for them.

use std::fs;

use super::site::succeed;
use super::{Run, pgbackrest};
use crate::Result;
use crate::bench::measure::{in_rounds, seconds};
use crate::bench::report::Goal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Walmgr,
    Cp,
    PgBackRest,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Walmgr => "walmgr",
            Way::Cp => "cp",
            Way::PgBackRest => pgbackrest::NAME,
        }
    }
}

pub(super) fn measure(run: &mut Run) -> Result {
    let workload = "restore_command";
    let site = &run.site;
    let master = site.write_master("fetch", false, "")?;
    site.clear()?;
    for name in &site.segments {
        let wal = site.wal(name).display().to_string();
        let program = site.walmgr(&master);
        program.args(["xarchive", "-q", &wal, name]).succeed()?;
    }
    // As in the data directory of a standby.
    let standby = site.path("standby.signal");
    fs::write(&standby, "")?;
    let mut ways = vec![Way::Walmgr, Way::Cp];
    if let Some(pgbackrest) = &run.pgbackrest {
        pgbackrest.clear(site)?;
        site.drain(&pgbackrest.line("archive-push %p"), run.interrupt)?;
        ways.push(Way::PgBackRest);
    }
    let samples = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        let time = seconds(|| {
            for name in &site.segments {
                let line = match way {
                    Way::Walmgr => format!("./walmgr -q slave.ini xrestore {name} RECOVERYXLOG"),
                    Way::Cp => format!("cp {} RECOVERYXLOG", site.archived(name).display()),
                    Way::PgBackRest => {
                        let pgbackrest = run.pgbackrest.as_ref().ok_or("it is not installed")?;
                        let target = site.path("RECOVERYXLOG");
                        pgbackrest.line(&format!("archive-get {name} {}", target.display()))
                    }
                };
                succeed(&mut site.shell(&line))?;
            }
            Ok(())
        })?;
        fs::remove_file(site.path("RECOVERYXLOG"))?;
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        Ok(site.segments.len() as f64 / time)
    })?;
    fs::remove_file(standby)?;
    for (way, samples) in ways.iter().zip(&samples) {
        run.report.add(workload, way.name(), "segments/s", samples);
    }
    let goal = Some(Goal::AtLeast(0.8));
    run.report
        .compare(workload, Way::Walmgr.name(), Way::Cp.name(), goal);
    let goal = Some(Goal::AtLeast(1.0));
    run.report
        .compare(workload, Way::Walmgr.name(), pgbackrest::NAME, goal);
    Ok(())
}
