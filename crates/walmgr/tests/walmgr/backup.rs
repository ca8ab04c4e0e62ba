//! `backup`: a set is whole, or none.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

/// Steps of the master's side.
const STEPS: [&str; 7] = [
    "backup.started",
    "backup.begun",
    "backup.data",
    "backup.tablespace",
    "backup.copied",
    "backup.stopped",
    "backup.committed",
];

/// Steps of the slave's side.
const SLAVE_STEPS: [&str; 6] = [
    "commit.labelled",
    "commit.synced",
    "commit.ready",
    "commit.shifted",
    "commit.committed",
    "expire.renamed",
];

/// A master with rows, a tablespace, and a first backup.
pub(crate) fn site() -> TestResult<Site> {
    site_at(false)
}

/// Has sessions begin at once.
const SHARED: &str = "ssh_multiplex = 1\nssh_persist = 1\n";

/// The same, perhaps behind ssh.
fn site_at(is_remote: bool) -> TestResult<Site> {
    let mut site = Site::with(is_remote, "keep_backups = 2")?;
    site.write_master(SHARED)?;
    site.set_up()?;
    let space = site.path("space");
    fs::create_dir(&space)?;
    site.owner.give(&space)?;
    let mut db = site.db()?;
    db.batch_execute(&format!(
        "create tablespace space location '{}'",
        space.display()
    ))?;
    db.batch_execute(
        "create table t (id int); insert into t select generate_series(1, 100); \
         create table s (id int) tablespace space; insert into s select generate_series(1, 100)",
    )?;
    db.batch_execute("vacuum")?;
    site.on_master("backup")?;
    Ok(site)
}

pub(crate) fn sets(site: &Site) -> TestResult<Vec<String>> {
    let names = site.names_in(&site.path("ship"))?;
    Ok(names
        .into_iter()
        .filter(|name| name.contains("data.master"))
        .collect())
}

/// Verifies a set by the server's own program.
pub(crate) fn verify(site: &Site, set: &str) -> TestResult {
    let program = site.master.bindir().join("pg_verifybackup");
    if !program.exists() {
        return Ok(());
    }
    let output = site
        .master
        .command("pg_verifybackup")
        .arg("-n")
        .arg(site.shipped(set))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{set}: {said}");
    Ok(())
}

#[test]
fn death_at_any_step_leaves_the_sets_whole() -> TestResult {
    let site = site()?;
    let mut db = site.db()?;
    let sides = STEPS.iter().map(|step| (step, true));
    for (step, is_ours) in sides.chain(SLAVE_STEPS.iter().map(|step| (step, false))) {
        let output = site
            .program("master.ini backup")
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        let code = if is_ours { None } else { Some(1) };
        assert_eq!(output.status.code(), code, "{step}: {}", output.stderr);
        // The server has forgotten it, and so has the lock.
        let holder = "select count(*) from pg_stat_activity where query like '%backup_st%' \
                      and pid <> pg_backend_pid()";
        wait_until("the server to forget the backup", PATIENCE, || {
            Ok(db.query_one(holder, &[])?.get::<_, i64>(0) == 0)
        })?;
        for set in sets(&site)?
            .iter()
            .filter(|set| !set.ends_with(".inprogress"))
        {
            if !set.starts_with(".trash") {
                verify(&site, set)?;
            }
        }
        let list = site.on_slave("listbackups")?.stdout;
        assert!(list.contains("FullBackup"), "{step}: {list}");
    }
    wait_until("the lock to be free", PATIENCE, || {
        Ok(site.program("master.ini backup").output()?.status.success())
    })?;
    assert_eq!(sets(&site)?, ["data.master", "data.master.0"]);
    verify(&site, "data.master")?;
    let list = site.on_master("listbackups")?.stdout;
    assert!(
        list.starts_with("\nList of backups:\n\nBackup set      Timestamp"),
        "{list}"
    );
    let mut lines = list.lines().skip(5);
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("data.master     2")),
        "{list}"
    );
    let json = site.on_master("listbackups --json")?.stdout;
    assert!(json.contains("\"state\": \"done\""), "{json}");
    Ok(())
}

/// Digests of all files below a directory, as `sha256sum` prints them.
fn digests(dir: &Path) -> TestResult<String> {
    let output = Command::new("find")
        .arg(dir)
        .args(["-type", "f", "-exec", "sha256sum", "{}", "+"])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert!(!lines.is_empty(), "{}", dir.display());
    Ok(lines.join("\n"))
}

#[test]
fn a_set_restores_beside_the_live_master_and_touches_nothing_of_it() -> TestResult {
    let site = site()?;
    let mut db = site.db()?;
    let before: String = db
        .query_one("select pg_relation_filepath('s')", &[])?
        .get(0);
    db.batch_execute("insert into s select generate_series(101, 200)")?;
    // Nothing that the server would change later, as when it reads them for the first time.
    db.batch_execute("vacuum s")?;
    db.batch_execute("checkpoint")?;
    site.switch(&mut db)?;
    let files = digests(&site.path("space"))?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    wait_until("the standby to have all rows", PATIENCE, || {
        let row = standby.query_one("select count(*) from s", &[])?;
        Ok(row.get::<_, i64>(0) == 200)
    })?;
    let location: String = standby
        .query_one(
            "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'space'",
            &[],
        )?
        .get(0);
    assert!(
        location.starts_with(&site.path("slave/tmpspc").display().to_string()),
        "{location}"
    );
    drop(standby);
    site.on_slave("boot")?;
    let mut new = site.standby()?;
    new.batch_execute("delete from s; insert into t values (0)")?;
    new.batch_execute("checkpoint")?;
    // The master has what it had, in the files it had.
    assert_eq!(
        db.query_one("select count(*) from s", &[])?
            .get::<_, i64>(0),
        200
    );
    let after: String = db
        .query_one("select pg_relation_filepath('s')", &[])?
        .get(0);
    assert_eq!(after, before);
    assert_eq!(digests(&site.path("space"))?, files);
    // The set is still there, and the new primary is not replaced by accident.
    verify(&site, "data.master")?;
    let line = "slave.ini restore data.master";
    site.refused(line, "is a primary and not a standby")?;
    site.program(&format!("{line} --force")).succeed()?;
    let mut standby = site.standby()?;
    assert!(
        standby
            .query_one("select pg_is_in_recovery()", &[])?
            .get::<_, bool>(0)
    );
    assert!(site.path("slave.0/PG_VERSION").exists());
    Ok(())
}

#[test]
fn two_backups_do_not_run_at_once() -> TestResult {
    let site = site()?;
    let (running, _held) = site.hold_at("master.ini backup", "backup.begun")?;
    site.refused("master.ini backup", "the backup lock is held by pid")?;
    site.refused("slave.ini restore", "the backup lock is held by pid")?;
    site.refused("slave.ini restore -n", "the backup lock is held by pid")?;
    let mut running = running;
    running.kill()?;
    // Whatever it was doing, it does not hold the next one up.
    wait_until("the lock to be free", PATIENCE, || {
        Ok(site.program("master.ini backup").output()?.status.success())
    })?;
    assert!(!site.archived("BACKUPLOCK").exists());
    site.on_slave("xlock 1")?;
    site.on_slave("xrelease -n")?;
    let output = site.program("slave.ini xlock 2").output()?;
    assert_eq!(
        (output.status.code(), output.stdout.as_str()),
        (Some(1), "1\n")
    );
    site.on_slave("xrelease")?;
    site.on_slave("xrelease")?;
    Ok(())
}

#[test]
fn sets_keep_their_names_while_one_is_restored() -> TestResult {
    let site = site()?;
    let (mut running, held) = site.hold_at("slave.ini restore data.master", "restore.stopped")?;
    site.refused("master.ini backup", "the backup lock is held by pid")?;
    fs::remove_file(&held)?;
    assert!(running.wait(PATIENCE)?.success(), "{}", site.logs());
    site.on_master("backup")?;
    assert_eq!(sets(&site)?, ["data.master", "data.master.0"]);
    Ok(())
}

#[test]
fn what_a_dead_backup_has_left_ends_with_it() -> TestResult {
    let site = site()?;
    let mut db = site.db()?;
    db.batch_execute("alter system set archive_command = 'false # xarchive'")?;
    db.batch_execute("select pg_reload_conf()")?;
    let mut running = site.program("master.ini backup --force").spawn()?;
    let json = site.shipped("data.master.inprogress/walmgr_backup.json");
    wait_until("the backup to wait for its WAL", PATIENCE, || {
        Ok(fs::read_to_string(&json).is_ok_and(|text| text.contains("waiting-wal")))
    })?;
    running.kill()?;
    // Not only after backup_wal_timeout: until then it could write into the next backup.
    wait_until("the commit to end", PATIENCE, || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.contains("the backup lock is not held any more"))
    })?;
    db.batch_execute("alter system reset archive_command")?;
    db.batch_execute("select pg_reload_conf()")?;
    site.on_master("backup --force")?;
    verify(&site, "data.master")
}

#[test]
fn a_backup_that_cannot_work_is_refused_before_it_begins() -> TestResult {
    let site = Site::new()?;
    site.refused("master.ini backup", "archive_mode is off: run setup")?;
    let mut site = site;
    site.set_up()?;
    site.refused(
        "--set master_data=/tmp master.ini backup",
        "cannot read /tmp/global/pg_control",
    )?;
    let shown = site.on_master("backup -n")?.stdout;
    assert!(shown.contains("would take the backup lock"), "{shown}");
    assert_eq!(sets(&site)?, [""; 0]);
    Ok(())
}

/// What is in a set: kinds, modes and paths, in their order.
pub(crate) fn content(site: &Site, set: &str) -> TestResult<Vec<String>> {
    let output = Command::new("find")
        .arg(site.shipped(set))
        .args(["-mindepth", "1", "-printf", "%y %m %P\n"])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut paths: Vec<String> = text.lines().map(str::to_owned).collect();
    paths.sort();
    Ok(paths)
}

#[test]
fn copied_by_the_program_itself_a_set_is_what_it_is_by_rsync() -> TestResult {
    copied_natively(&site()?)
}

#[test]
fn copied_by_several_connections_a_set_is_what_it_is_by_rsync() -> TestResult {
    copied_natively(&site_at(true)?)
}

fn copied_natively(site: &Site) -> TestResult {
    let mut db = site.db()?;
    let by_rsync = content(site, "data.master")?;
    site.write_master(&format!("{SHARED}backup_method = native\nbackup_jobs = 3"))?;
    let output = site
        .program("master.ini backup")
        .env("FAILPOINTS", "backup.block=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), None, "{}", output.stderr);
    assert_eq!(content(site, "data.master")?, by_rsync);
    wait_until("the lock to be free", PATIENCE, || {
        Ok(site.program("master.ini backup").output()?.status.success())
    })?;
    assert_eq!(content(site, "data.master")?, by_rsync);
    let json = fs::read_to_string(site.shipped("data.master/walmgr_backup.json"))?;
    assert!(json.contains("\"native\""), "{json}");

    // While files come, go, grow and shrink.
    let stop = AtomicBool::new(false);
    let mut other = site.db()?;
    thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<(), postgres::Error> {
            while !stop.load(Ordering::Relaxed) {
                other.batch_execute(
                    "create table u (x text) tablespace space; \
                     insert into u select repeat('x', 99) from generate_series(1, 2000); \
                     insert into t select generate_series(1, 500)",
                )?;
                other.batch_execute("truncate u; insert into s select generate_series(1, 500)")?;
                // No more WAL than can be archived meanwhile.
                other.batch_execute("drop table u; select pg_sleep(0.2)")?;
            }
            Ok(())
        });
        let made = site
            .on_master("backup")
            .and_then(|_| verify(site, "data.master"));
        stop.store(true, Ordering::Relaxed);
        load.join().map_err(|_| "the load has panicked")??;
        made
    })?;
    site.on_slave("verify --all")?;
    site.switch(&mut db)?;
    let rows = "select (select count(*) from t), (select count(*) from s)";
    let wanted = db.query_one(rows, &[])?;
    let wanted: (i64, i64) = (wanted.get(0), wanted.get(1));
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    wait_until("the standby to have all rows", PATIENCE, || {
        let row = standby.query_one(rows, &[])?;
        Ok((row.get(0), row.get(1)) == wanted)
    })
}

#[test]
fn a_copy_whose_wal_comes_late_becomes_a_set_all_the_same() -> TestResult {
    let site = site()?;
    let mut db = site.db()?;
    site.refused(
        "master.ini backup --finish",
        "backup on this host: exit status: 1",
    )?;
    site.refused(
        "slave.ini backup --finish",
        "there is no backup that waits for WAL",
    )?;
    db.batch_execute("alter system set archive_command = 'false # xarchive'")?;
    db.batch_execute("select pg_reload_conf()")?;
    let late = "master.ini backup --force --set backup_wal_timeout=0";
    let output = site.program(late).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output
            .stderr
            .contains("backup --finish makes the copy a set"),
        "{}",
        output.stderr
    );
    let check = site.program("slave.ini check").output()?.stdout;
    assert!(
        check.contains("data.master.inprogress: a backup under way or given up: waiting for WAL"),
        "{check}"
    );
    // Not yet, and it waits no longer than it is told to.
    site.refused(
        "slave.ini backup --finish --set backup_wal_timeout=0",
        "has not come into",
    )?;
    db.batch_execute("alter system reset archive_command")?;
    db.batch_execute("select pg_reload_conf()")?;
    let shown = site.on_master("backup --finish -n")?.stdout;
    assert!(shown.starts_with("would wait for the WAL of"), "{shown}");
    site.on_master("backup --finish")?;
    assert_eq!(sets(&site)?, ["data.master", "data.master.0"]);
    site.on_slave("verify --all")?;
    verify(&site, "data.master")
}
