//! Disks that are full, on either side: what was there stays, and it goes on when there is room again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use testkit::{Running, SmallDisk, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// A slave on a disk of its own; `None` where there can be none.
fn on_a_small_disk() -> TestResult<Option<(Site, SmallDisk)>> {
    let Some(disk) = SmallDisk::mount(160)? else {
        return Ok(None);
    };
    let site = Site::new()?;
    symlink(disk.path(), site.path("ship"))?;
    Ok(Some((site, disk)))
}

/// Starts a line that stops at a step, and fills the disk then.
fn fill_at(site: &Site, disk: &SmallDisk, line: &str, step: &str) -> TestResult<Running> {
    let (running, held) = site.hold_at(line, step)?;
    disk.fill()?;
    fs::remove_file(&held)?;
    Ok(running)
}

#[test]
fn a_segment_that_does_not_fit_is_refused_and_comes_when_there_is_room() -> TestResult {
    let Some((site, disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    site.on_slave("setup")?;
    let push = |path: &std::path::Path, name: &str| {
        format!("master.ini xarchive {} {name}", path.display())
    };
    let (path, first) = site.finished_segment()?;
    site.program(&push(&path, &first)).succeed()?;
    let bytes = fs::read(site.archived(&first))?;
    let (path, name) = site.finished_segment()?;
    // Before it begins, while it is written, and when its digest is.
    disk.fill()?;
    let why = format!(
        "disk full: {} has ",
        site.shipped("logs.complete").display()
    );
    site.refused(&push(&path, &name), &why)?;
    disk.free()?;
    for step in ["xreceive.created", "xreceive.written"] {
        let mut running = fill_at(&site, &disk, &push(&path, &name), step)?;
        assert_eq!(running.wait(PATIENCE)?.code(), Some(1), "{step}");
        assert!(!site.archived(&name).exists(), "{step}");
        let names = site.names_in(&site.shipped("logs.complete"))?;
        assert!(
            !names.iter().any(|name| name.ends_with(".tmp")),
            "{step}: {names:?}"
        );
        disk.free()?;
    }
    let log = site.logs();
    assert!(log.contains("No space left on device"), "{log}");
    assert!(fs::read(site.archived(&first))? == bytes);
    site.program(&push(&path, &name)).succeed()?;
    assert!(fs::read(site.archived(&name))? == fs::read(&path)?);
    Ok(())
}

#[test]
fn the_server_keeps_its_wal_while_the_slave_has_no_room() -> TestResult {
    let Some((mut site, disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    disk.fill()?;
    db.batch_execute("insert into t values (1)")?;
    let name = site.end_segment(&mut db)?;
    wait_until("archiving to fail", PATIENCE, || {
        let failed = "select failed_count > 0 from pg_stat_archiver";
        Ok(db.query_one(failed, &[])?.get(0))
    })?;
    let found = site.program("master.ini check").output()?.stdout;
    for line in [
        format!("archiving: FAILED (fails for {name})"),
        "waiting: OK (1 files)".to_owned(),
        "slave free space: FAILED (0 MB)".to_owned(),
    ] {
        assert!(found.contains(&line), "no '{line}' in {found}");
    }
    site.refused("master.ini backup", "archiving fails")?;
    disk.free()?;
    // The archiver tries again with the next segment, else once a minute.
    db.batch_execute("insert into t values (2)")?;
    let next = site.switch(&mut db)?;
    assert!(site.archived(&name).exists(), "{name}, before {next}");
    Ok(())
}

#[test]
fn a_backup_that_does_not_fit_leaves_the_older_ones() -> TestResult {
    let Some((mut site, disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    site.set_up()?;
    site.on_master("backup")?;
    let label = fs::read(site.shipped("data.master/backup_label"))?;
    disk.fill()?;
    site.refused("master.ini backup --force", "No space left on device")?;
    disk.free()?;
    for step in ["backup.begun", "backup.stopped"] {
        let mut running = fill_at(&site, &disk, "master.ini backup --force", step)?;
        assert_eq!(
            running.wait(PATIENCE)?.code(),
            Some(1),
            "{step}: {}",
            site.logs()
        );
        disk.free()?;
        assert!(
            fs::read(site.shipped("data.master/backup_label"))? == label,
            "{step}"
        );
        wait_until("the lock to be free", PATIENCE, || {
            Ok(!site.archived("BACKUPLOCK").exists())
        })?;
    }
    let log = site.logs();
    assert!(log.contains("No space left on device"), "{log}");
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    site.on_master("backup --force")?;
    assert!(fs::read(site.shipped("data.master/backup_label"))? != label);
    let verified = site.program("slave.ini verify --all").output()?;
    assert!(verified.status.success(), "{}", verified.stdout);
    Ok(())
}

#[test]
fn a_piece_that_does_not_fit_leaves_what_was_there() -> TestResult {
    let Some((site, disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let bytes = fs::read(&path)?;
    let partial = site.shipped("logs.partial").join(&name);
    let (first, second) = (site.path("first"), site.path("second"));
    fs::write(&first, &bytes[..16384])?;
    fs::write(&second, &bytes[16384..16384 + 65536])?;
    site.program(&format!("slave.ini xpartialsync {name} 0 16384"))
        .input(&first)?
        .succeed()?;
    let line = format!("slave.ini xpartialsync {name} 16384 65536");
    disk.fill()?;
    let output = site.program(&line).input(&second)?.output()?;
    assert_eq!(output.status.code(), Some(1));
    let why = format!("disk full: {} has ", site.shipped("logs.partial").display());
    assert!(output.stderr.contains(&why), "{}", output.stderr);
    disk.free()?;
    // In the middle of it.
    let held = site.path("held");
    let mut running = site
        .program(&line)
        .input(&second)?
        .env(
            "FAILPOINTS",
            format!("xpartialsync.half=return(hold:{})", held.display()),
        )
        .spawn()?;
    wait_until("half of it to be written", PATIENCE, || Ok(held.exists()))?;
    disk.fill()?;
    fs::remove_file(&held)?;
    assert_eq!(running.wait(PATIENCE)?.code(), Some(1));
    assert!(fs::read(&partial)?[..16384] == bytes[..16384]);
    let known = site.on_slave("xwals")?.stdout;
    assert!(
        known.contains(&format!("partial {name} 16384\n")),
        "{known}"
    );
    disk.free()?;
    site.program(&line).input(&second)?.succeed()?;
    assert!(fs::read(&partial)?[..16384 + 65536] == bytes[..16384 + 65536]);
    Ok(())
}

#[test]
fn a_segment_is_archived_although_the_master_cannot_write() -> TestResult {
    let Some(disk) = SmallDisk::mount(160)? else {
        return Ok(());
    };
    let site = Site::with_master_below(disk.path())?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    disk.fill()?;
    let line = format!("master.ini xarchive {} {name}", path.display());
    let log = disk.path().join("master.log");
    let output = site
        .program(&format!("--set logfile={} {line}", log.display()))
        .succeed()?;
    assert!(
        output.stderr.contains("cannot note the last archived file"),
        "{}",
        output.stderr
    );
    assert!(fs::read(site.archived(&name))? == fs::read(&path)?);
    disk.free()
}

#[test]
fn a_data_directory_that_cannot_be_moved_is_refused_before_the_standby_is_stopped() -> TestResult {
    let Some(disk) = SmallDisk::mount(16)? else {
        return Ok(());
    };
    let mut site = Site::new()?;
    site.set_up()?;
    site.on_master("backup")?;
    let line = format!(
        "slave.ini restore --set slave_data={}",
        disk.path().display()
    );
    site.refused(&line, "is where a disk is mounted")?;
    // Nor can one in a directory of somebody else.
    let locked = site.path("locked");
    fs::create_dir(&locked)?;
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555))?;
    let data = locked.join("slave");
    let line = format!("slave.ini restore --set slave_data={}", data.display());
    site.refused(&line, "this user may not write to")?;
    site.on_slave("restore -n")?;
    Ok(())
}
