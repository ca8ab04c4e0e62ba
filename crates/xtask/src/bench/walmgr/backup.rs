//! A base backup of a server at rest to a directory of the same machine.

use std::path::Path;

use super::Run;
use super::pgbackrest::{self, PgBackRest};
use super::site::{Site, remove_tree, succeed};
use crate::Result;
use crate::bench::measure::{in_rounds, seconds};
use crate::bench::report::Goal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Walmgr,
    /// The same by rsync.
    WalmgrRsync,
    BaseBackup,
    Rsync,
    /// With two workers.
    PgBackRest,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Walmgr => "walmgr, native",
            Way::WalmgrRsync => "walmgr, rsync",
            Way::BaseBackup => "pg_basebackup",
            Way::Rsync => "rsync, sync",
            Way::PgBackRest => pgbackrest::NAME,
        }
    }
}

/// Makes the server as large as one that is worth a measurement, and has it archive.
pub(super) fn prepare(run: &Run) -> Result<std::path::PathBuf> {
    let site = &run.site;
    let mut db = site.db()?;
    // What is left from other workloads need not be archived.
    site.archive_with("/bin/true")?;
    let exists = "select from pg_class where relname = 'large'";
    if db.query_opt(exists, &[])?.is_none() {
        let rows = run.common.size(8_000_000, 80_000);
        db.batch_execute(&format!(
            "create table large as select i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) as text \
               from generate_series(1, {rows}) i"
        ))?;
        // One statement each: it must not be in a transaction.
        db.batch_execute("vacuum large")?;
        db.batch_execute("checkpoint")?;
    }
    site.clear()?;
    site.write_master("rsync", false, "backup_wal_timeout = 60")?;
    let lines = "backup_wal_timeout = 60\nbackup_method = native";
    let master = site.write_master("backup", false, lines)?;
    site.archive_with(&archive_command(site, &master))?;
    Ok(master)
}

pub(super) fn measure(run: &mut Run) -> Result {
    let master = prepare(run)?;
    let workload = "base backup";
    let site = &run.site;
    let mut ways = vec![Way::Walmgr, Way::WalmgrRsync, Way::BaseBackup, Way::Rsync];
    ways.extend(run.pgbackrest.as_ref().map(|_| Way::PgBackRest));
    let samples = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        let target = site.path("copy");
        remove_tree(&target)?;
        remove_tree(&site.path("ship/data.master"))?;
        rustix::fs::sync();
        if let (Way::PgBackRest, Some(pgbackrest)) = (way, &run.pgbackrest) {
            return by_pgbackrest(site, pgbackrest, &master);
        }
        seconds(|| take(site, way, &master, &target))
    })?;
    let bytes: i64 = site
        .db()?
        .query_one(
            "select sum(pg_database_size(oid))::int8 from pg_database",
            &[],
        )?
        .get(0);
    run.report
        .note(format!("base backups: {} MB of databases", bytes >> 20));
    remove_tree(&site.path("copy"))?;
    for (way, samples) in ways.iter().zip(&samples) {
        run.report.add(workload, way.name(), "s", samples);
    }
    let goal = Some(Goal::AtMost(1.0));
    let ours = Way::Walmgr.name();
    run.report
        .compare(workload, ours, Way::BaseBackup.name(), goal);
    run.report.compare(workload, ours, Way::Rsync.name(), None);
    run.report.compare(workload, ours, pgbackrest::NAME, goal);
    Ok(())
}

fn take(site: &Site, way: Way, master: &Path, target: &Path) -> Result {
    let cluster = site.stand().cluster();
    match way {
        Way::Walmgr => {
            site.walmgr(master).args(["backup", "-q"]).succeed()?;
            Ok(())
        }
        Way::WalmgrRsync => {
            let program = site.walmgr(&site.path("rsync.ini"));
            program.args(["backup", "-q"]).succeed()?;
            Ok(())
        }
        Way::BaseBackup => {
            let mut command = cluster.command("pg_basebackup");
            command.args(["-c", "fast", "-d", &site.stand().conninfo("postgres"), "-D"]);
            succeed(command.arg(target))
        }
        Way::Rsync => succeed(&mut site.shell(&format!(
            "rsync -a --quiet --exclude=/pg_wal/* {}/ {target} && sync -f {target}",
            cluster.data_dir().display(),
            target = target.display(),
        ))),
        Way::PgBackRest => Err("it needs more than that".into()),
    }
}

/// It needs WAL in its own repository.
fn by_pgbackrest(site: &Site, pgbackrest: &PgBackRest, master: &Path) -> Result<f64> {
    pgbackrest.clear(site)?;
    site.archive_with(&pgbackrest.line("archive-push %p"))?;
    let line = pgbackrest.line("--type=full --process-max=2 backup");
    let time = seconds(|| succeed(&mut site.shell(&line)));
    site.archive_with(&archive_command(site, master))?;
    time
}

fn archive_command(site: &Site, master: &Path) -> String {
    format!(
        "{} -q {} xarchive %p %f",
        site.path("walmgr").display(),
        master.display()
    )
}
