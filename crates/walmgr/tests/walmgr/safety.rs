//! What no command does, whatever happens around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

impl Site {
    /// Segments of the archive.
    pub(crate) fn wal(&self) -> TestResult<Vec<String>> {
        let names = self.names_in(&self.shipped("logs.complete"))?;
        Ok(names.into_iter().filter(|name| name.len() == 24).collect())
    }

    /// First segment that a set needs, or a backup under way.
    fn first_of(&self, set: &str) -> TestResult<String> {
        let json = fs::read_to_string(self.shipped(set).join("walmgr_backup.json"))?;
        let (_, rest) = json.split_once("\"start_wal\": \"").ok_or("start_wal")?;
        Ok(rest[..24].to_owned())
    }
}

#[test]
fn the_newest_set_goes_only_when_there_is_a_newer_one() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    for line in ["expire", "xpurgewals", "xrotate", "xrotate", "expire"] {
        site.on_slave(line)?;
    }
    // Renamed, as older programs do before a backup.
    let list = site.on_slave("listbackups")?.stdout;
    assert_eq!(list.matches("FullBackup").count(), 1, "{list}");
    let output = site
        .program("master.ini backup")
        .env("FAILPOINTS", "commit.ready=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    site.on_slave("expire")?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.switch(&mut db)?;
    site.on_slave("restore data.master.1")
        .or_else(|_| site.on_slave("restore data.master.0"))?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 200)?;
    Ok(())
}

#[test]
fn wal_that_a_set_needs_stays_also_while_the_set_is_copied() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 0")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    let first = site.first_of("data.master")?;
    let mut before = Vec::new();
    for _ in 0..3 {
        db.batch_execute("insert into t values (1)")?;
        before.push(site.switch(&mut db)?);
    }
    let purge = |site: &Site| -> TestResult {
        site.on_slave("xpurgewals")?;
        site.on_slave("xcleanup 0000000100000000000000F0")?;
        site.on_slave("expire").map(drop).or_else(|error| {
            match error.to_string().contains("the backup lock is held") {
                true => Ok(()),
                false => Err(error),
            }
        })
    };
    for step in ["backup.started", "backup.begun", "backup.stopped"] {
        let (mut running, held) = site.hold_at("master.ini backup", step)?;
        db.batch_execute("insert into t values (1)")?;
        before.push(site.switch(&mut db)?);
        purge(&site)?;
        let wal = site.wal()?;
        assert_eq!(wal.first(), Some(&first), "{step}: {wal:?}");
        assert!(before.iter().all(|name| wal.contains(name)), "{step}");
        running.kill()?;
        fs::remove_file(&held)?;
        wait_until("the lock to be free", PATIENCE, || {
            Ok(!site.archived("BACKUPLOCK").exists())
        })?;
        purge(&site)?;
        assert_eq!(site.wal()?.first(), Some(&first), "{step}");
    }
    site.program("slave.ini verify").succeed()?;
    // A standby that reads the archive needs no less.
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    site.on_master("backup")?;
    purge(&site)?;
    let newest = site.first_of("data.master")?;
    let wal = site.wal()?;
    assert!(wal.contains(&newest), "{wal:?}");
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    let rows: i64 = db.query_one("select count(*) from t", &[])?.get(0);
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, rows)?;
    Ok(())
}

#[test]
fn the_only_set_restores_after_a_standby_ran_ahead_and_the_next_backup_failed() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 0")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    for rows in 1..=3 {
        db.batch_execute("insert into t values (1); checkpoint")?;
        site.switch(&mut db)?;
        site.wait_for_rows(&mut standby, rows)?;
        // A restart point, at which the server calls xcleanup.
        standby.batch_execute("checkpoint")?;
    }
    let output = site
        .program("master.ini backup")
        .env("FAILPOINTS", "backup.copied=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), None, "{}", output.stderr);
    wait_until("the lock to be free", PATIENCE, || {
        Ok(!site.archived("BACKUPLOCK").exists())
    })?;
    db.batch_execute("insert into t values (1); checkpoint")?;
    site.switch(&mut db)?;
    site.wait_for_rows(&mut standby, 4)?;
    standby.batch_execute("checkpoint")?;
    drop(standby);
    site.on_slave("verify")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 4)
}

#[test]
fn the_server_hears_of_success_after_file_and_directory_are_on_disk() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let trace = site.path("trace");
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync,syncfs,/rename,/link,exit_group",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(site.path("walmgr"))
        .arg(site.path("master.ini"))
        .args(["xarchive", &path.display().to_string(), &name])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    site.owner.apply(&mut strace);
    match strace.status() {
        Ok(status) if status.success() => {}
        // Not there, or not allowed to.
        other => {
            let text = format!("skipped: strace: {other:?}\n");
            return Ok(std::io::Write::write_all(
                &mut std::io::stdout(),
                text.as_bytes(),
            )?);
        }
    }
    let trace = fs::read_to_string(&trace)?;
    let archive = site.shipped("logs.complete").display().to_string();
    let calls: Vec<&str> = trace.lines().collect();
    let at = |what: &[&str]| {
        calls
            .iter()
            .position(|line| what.iter().all(|word| line.contains(word)))
            .ok_or_else(|| format!("no {what:?} in {trace}"))
    };
    let temporary = format!("{archive}/.{name}.tmp");
    let written = at(&["sync(", &format!("<{temporary}>")])?;
    let named = at(&["rename", &format!("{archive}/{name}\"")])?;
    let synced = calls
        .iter()
        .rposition(|line| line.contains("sync(") && line.contains(&format!("<{archive}>")))
        .ok_or_else(|| format!("the directory is not synced: {trace}"))?;
    let digest = at(&["sync(", &format!("{archive}/.walmgr/")])?;
    let ended = at(&["exit_group(0)"])?;
    assert!(written < named && digest < named, "{trace}");
    assert!(named < synced && synced < ended, "{trace}");
    Ok(())
}

/// Names and contents of all that is below some directories.
fn snapshot(site: &Site, roots: &[&Path]) -> TestResult<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left: Vec<_> = roots.iter().map(|root| root.to_path_buf()).collect();
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let name = path.display().to_string();
        // What a server that runs changes by itself.
        let is_live = [
            "/pg_wal",
            "/pg_stat",
            "/global",
            "/base",
            "/pg_xact",
            "/pg_logical",
        ]
        .iter()
        .any(|part| name.contains(part) && !path.starts_with(site.path("ship")));
        if is_live || name.ends_with("/requests") || name.ends_with("postmaster.pid") {
            continue;
        }
        let content = match (metadata.is_dir(), metadata.is_symlink()) {
            (true, _) => {
                for entry in fs::read_dir(&path)? {
                    left.push(entry?.path());
                }
                Vec::new()
            }
            (_, true) => fs::read_link(&path)?.into_os_string().into_encoded_bytes(),
            _ if name.ends_with(".log") => continue,
            _ => fs::read(&path)?,
        };
        found.insert(name, content);
    }
    Ok(found)
}

#[test]
fn a_look_at_what_would_be_done_changes_nothing() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    db.batch_execute("insert into t values (1)")?;
    let name = site.switch(&mut db)?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    // Nothing more comes by itself.
    db.batch_execute("alter system set archive_command = ''")?;
    db.batch_execute("select pg_reload_conf()")?;
    site.on_slave("pause")?;
    let data = site.master.data_dir();
    let roots = [
        site.path("ship"),
        site.path("slave"),
        data.clone(),
        site.path("master.ini"),
        site.path("slave.ini"),
    ];
    let roots: Vec<&Path> = roots.iter().map(|root| root.as_path()).collect();
    let before = snapshot(&site, &roots)?;
    let path = data.join("pg_wal").join(&name);
    let path = path.display().to_string();
    let lines = [
        "master.ini setup".to_owned(),
        "master.ini stop".to_owned(),
        "master.ini backup --force".to_owned(),
        "master.ini sync".to_owned(),
        "master.ini sync --set use_xlog_functions=1".to_owned(),
        "master.ini syncdaemon".to_owned(),
        "master.ini periodic --set periodic_command=/bin/false".to_owned(),
        "master.ini listbackups".to_owned(),
        "master.ini status".to_owned(),
        format!("master.ini xarchive {path} {name}"),
        "slave.ini setup".to_owned(),
        "slave.ini restore".to_owned(),
        "slave.ini restore data.master.0 --force".to_owned(),
        "slave.ini restore --target-immediate".to_owned(),
        format!(
            "slave.ini restore data.master {}",
            site.path("s/aside").display()
        ),
        format!("master.ini restore --to {}", site.path("s/aside").display()),
        "slave.ini backup --finish".to_owned(),
        "slave.ini xset".to_owned(),
        "slave.ini xrstpt".to_owned(),
        "slave.ini boot".to_owned(),
        "slave.ini switchover --force".to_owned(),
        "slave.ini pause".to_owned(),
        "slave.ini continue".to_owned(),
        "slave.ini verify --all".to_owned(),
        "slave.ini expire --set keep_backups=1".to_owned(),
        "slave.ini status".to_owned(),
        "slave.ini xlock 1".to_owned(),
        "slave.ini xrelease".to_owned(),
        "slave.ini xrotate".to_owned(),
        "slave.ini xpurgewals".to_owned(),
        "slave.ini xcleanup 0000000100000000000000F0".to_owned(),
        format!("slave.ini xpartialsync {name} 0 16384"),
    ];
    for line in lines {
        let output = site.program(&format!("-n {line}")).output()?;
        // The master's archive_command is not ours any more, which a backup may refuse.
        let code = output.status.code();
        assert!(
            code == Some(0) || code == Some(1) && line.contains("backup"),
            "{line}: {}",
            output.stderr
        );
        let after = snapshot(&site, &roots)?;
        let changed: Vec<&String> = before
            .keys()
            .chain(after.keys())
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        assert!(changed.is_empty(), "{line}: {changed:?}");
    }
    let command: String = db.query_one("show archive_command", &[])?.get(0);
    assert_eq!(command, "");
    Ok(())
}

#[test]
fn nothing_depends_on_the_clock_of_another_host() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    site.on_master("backup")?;
    let year: String = db.query_one("select to_char(now(), 'YYYY-')", &[])?.get(0);
    let shift = |set: &str, from: &str, to: &str| -> TestResult {
        for file in ["walmgr_backup.json", "backup_label"] {
            let path = site.shipped(set).join(file);
            fs::write(&path, fs::read_to_string(&path)?.replace(from, to))?;
        }
        Ok(())
    };
    // The master was years ahead when it took the first, and years behind with the second.
    shift("data.master.0", &year, "2099-")?;
    shift("data.master", &year, "2001-")?;
    let newest = site.first_of("data.master")?;
    let oldest = site.first_of("data.master.0")?;
    site.on_slave("xpurgewals")?;
    assert!(site.wal()?.contains(&oldest));
    // The newest is the one that came last, and its age no negative one.
    let deleted = site.on_slave("expire --set keep_backups=1")?.stdout;
    assert!(deleted.contains("deleted data.master.0\n"), "{deleted}");
    assert_eq!(site.wal()?.first(), Some(&newest));
    shift("data.master", "2001-", "2099-")?;
    let found = site.program("slave.ini check").output()?.stdout;
    assert!(
        found.contains("backups: OK (1, data.master from 2099-"),
        "{found}"
    );
    // Files of the future are copied like others, although size and time are the same.
    let conf = site.master.data_dir().join("postgresql.conf");
    let mut text = fs::read_to_string(&conf)?;
    let copied = site.shipped("config.backup/postgresql.conf");
    let time = fs::metadata(&copied)?.modified()?;
    assert!(text.contains("shared_buffers = 16MB"), "{text}");
    text = text.replace("shared_buffers = 16MB", "shared_buffers = 17MB");
    fs::write(&conf, &text)?;
    fs::File::options()
        .write(true)
        .open(&conf)?
        .set_modified(time)?;
    site.on_master("backup")?;
    for path in [copied, site.shipped("data.master/postgresql.conf")] {
        assert!(fs::read_to_string(&path)? == text, "{}", path.display());
    }
    Ok(())
}
