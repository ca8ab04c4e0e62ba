//! A base backup into service, by copy: until the standby is open for readers.

use std::path::Path;

use super::Run;
use super::site::{Site, remove_tree, succeed};
use super::{backup, site};
use crate::Result;
use crate::bench::measure::{in_rounds, seconds};
use crate::bench::report::Goal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Walmgr,
    Copy,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Walmgr => "walmgr restore --no-verify",
            Way::Copy => "cp -a, sync, pg_ctl",
        }
    }
}

pub(super) fn measure(run: &mut Run) -> Result {
    let workload = "restore by copy";
    let master = backup::prepare(run)?;
    let site = &run.site;
    site.walmgr(&master).args(["backup", "-q"]).succeed()?;
    let ways = [Way::Walmgr, Way::Copy];
    let samples = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        rustix::fs::sync();
        let time = seconds(|| match way {
            Way::Walmgr => {
                let program = site.walmgr(&site.path("slave.ini"));
                // cp does not look either whether the files are what they were.
                let line = ["restore", "data.master", "--no-verify", "-q"];
                program.args(line).succeed()?;
                Ok(())
            }
            Way::Copy => by_hand(site),
        });
        let stopped = stop(site);
        remove_tree(&site.path("slave"))?;
        stopped.and(time)
    })?;
    for (way, samples) in ways.iter().zip(&samples) {
        run.report.add(workload, way.name(), "s", samples);
    }
    // A rate of 0.8, as times.
    let goal = Some(Goal::AtMost(1.25));
    run.report
        .compare(workload, Way::Walmgr.name(), Way::Copy.name(), goal);
    Ok(())
}

/// What one types without the program.
fn by_hand(site: &Site) -> Result {
    let (set, data) = (site.path("ship/data.master"), site.path("slave"));
    let command = format!(
        "cp -a {set} {data} && sync -f {data} && touch {data}/standby.signal && \
         echo \"restore_command = 'cp {archive}%f %p'\" >> {data}/postgresql.auto.conf && {start}",
        set = set.display(),
        data = data.display(),
        archive = site.archived("").display(),
        start = pg_ctl(
            site,
            &data,
            &format!(
                "-o \"-c unix_socket_directories={} -c listen_addresses= -c port=5432\" start",
                site.path("s").display()
            )
        ),
    );
    succeed(&mut site.shell(&command))
}

fn stop(site: &site::Site) -> Result {
    let data = site.path("slave");
    if !data.join("postmaster.pid").exists() {
        return Ok(());
    }
    succeed(&mut site.shell(&pg_ctl(site, &data, "-m immediate stop")))
}

fn pg_ctl(site: &Site, data: &Path, rest: &str) -> String {
    format!(
        "{}/pg_ctl -s -D {} -w -t 60 -l {} {rest}",
        site.stand().cluster().bindir().display(),
        data.display(),
        site.path("slave.server.log").display(),
    )
}
