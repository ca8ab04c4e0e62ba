//! `xarchive`: durable, verified, and never over something else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

/// Steps of a push and of what receives it, in their order.
const STEPS: [&str; 10] = [
    "xarchive.read",
    "xreceive.created",
    "xreceive.block",
    "xreceive.written",
    "xreceive.synced",
    "xreceive.summed",
    "xreceive.published",
    "xreceive.done",
    "xarchive.sent",
    "xarchive.noted",
];

fn push(path: &Path, name: &str) -> String {
    format!("master.ini xarchive {} {name}", path.display())
}

/// What is in the archive is either not there or whole; the one that was there before is untouched.
fn death_leaves_a_whole_file_or_none(site: &Site, variable: &str, steps: &[&str]) -> TestResult {
    for step in steps {
        let (path, name) = site.finished_segment()?;
        let archived = site.archived(&name);
        let output = site
            .program(&push(&path, &name))
            .env(variable, format!("{step}=return(kill)"))
            .output()?;
        // Behind ssh it is the other side that dies, and this one says so.
        let expected = if site.sshd.is_some() { Some(1) } else { None };
        assert_eq!(output.status.code(), expected, "{step}: {}", output.stderr);
        if archived.exists() {
            assert!(fs::read(&archived)? == fs::read(&path)?, "{step}");
        }
        for _ in 0..2 {
            site.program(&push(&path, &name)).succeed()?;
            assert!(fs::read(&archived)? == fs::read(&path)?, "{step}");
        }
        assert_eq!(fs::metadata(&archived)?.mode() & 0o777, 0o600);
        let last = site.master.data_dir().join(".walshipping.last");
        assert_eq!(fs::read_to_string(last)?.trim(), name);
        // Nothing is left over.
        let names = site.names_in(&site.shipped("logs.complete"))?;
        assert!(
            !names.iter().any(|name| name.ends_with(".tmp")),
            "{names:?}"
        );
    }
    Ok(())
}

#[test]
fn death_at_any_step_leaves_a_whole_file_or_none() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    death_leaves_a_whole_file_or_none(&site, "FAILPOINTS", &STEPS)
}

#[test]
fn fifty_segments_arrive_as_the_server_wrote_them() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let mut names = Vec::new();
    for _ in 0..49 {
        db.batch_execute("insert into t values (1)")?;
        names.push(site.end_segment(&mut db)?);
    }
    db.batch_execute("insert into t values (1)")?;
    names.push(site.switch(&mut db)?);
    let wal = site.master.data_dir().join("pg_wal");
    for name in &names {
        let written = fs::read(wal.join(name))?;
        assert!(fs::read(site.archived(name))? == written, "{name}");
        let sum = fs::read_to_string(site.archived(&format!(".walmgr/{name}.sum")))?;
        let told = Command::new("sha256sum").arg(wal.join(name)).output()?;
        let told = String::from_utf8(told.stdout)?;
        let (digest, _) = told.split_once(' ').ok_or("a digest")?;
        assert_eq!(sum, format!("{digest} {}\n", written.len()), "{name}");
    }
    let last = site.master.data_dir().join(".walshipping.last");
    wait_until("the last one to be noted", PATIENCE, || {
        Ok(fs::read_to_string(&last)?.trim() == names[49])
    })?;
    assert_eq!(names.len(), 50);
    Ok(())
}

#[test]
fn the_same_file_is_welcome_again_and_another_is_refused() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    site.program(&push(&path, &name)).succeed()?;
    let output = site.program(&push(&path, &name)).succeed()?;
    assert!(
        output.stderr.contains("already archived"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("{count: 1, duration: "),
        "{}",
        output.stderr
    );

    // Of the same name, size and time, and with another last byte.
    let other = site.path("other");
    let mut bytes = fs::read(&path)?;
    let first = bytes.clone();
    *bytes.last_mut().ok_or("a segment has bytes")? ^= 1;
    fs::write(&other, &bytes)?;
    let time = fs::metadata(site.archived(&name))?.modified()?;
    fs::File::options()
        .write(true)
        .open(&other)?
        .set_modified(time)?;
    site.refused(
        &push(&other, &name),
        "is there with other content, and stays",
    )?;
    assert!(fs::read(site.archived(&name))? == first);
    let aside = site.names_in(&site.archived(".walmgr/conflict"))?;
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].starts_with(&name), "{aside:?}");

    // Damage in the archive is told from a second master.
    fs::write(site.archived(&name), &bytes)?;
    site.refused(
        &push(&path, &name),
        "has been damaged since it was archived",
    )?;
    Ok(())
}

#[test]
fn another_cluster_is_refused_at_its_first_segment() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    site.program(&push(&path, &name)).succeed()?;
    // The next one with another system identifier on its first page.
    let (path, next) = site.finished_segment()?;
    let mut bytes = fs::read(path)?;
    bytes[24] ^= 1;
    let foreign = site.path("foreign");
    fs::write(&foreign, &bytes)?;
    site.refused(&push(&foreign, &next), "another server archives here")?;
    assert!(!site.archived(&next).exists());
    let identity = fs::read_to_string(site.archived("SYSTEMID"))?;
    assert!(
        identity.contains("\"wal_segment_size\": 1048576"),
        "{identity}"
    );
    Ok(())
}

#[test]
fn what_is_no_file_of_a_server_is_refused() -> TestResult {
    let site = Site::new()?;
    let (path, name) = site.finished_segment()?;
    site.refused(&push(&path, &name), "is no archive: is its disk mounted?")?;
    site.on_slave("setup")?;
    site.refused(&push(&path, "../etc"), "is no name of a WAL file")?;
    site.refused(
        &push(&path, "00000001000000000000000a"),
        "is no name of a WAL file",
    )?;
    let next = "0000000100000000000000FE";
    site.refused(&push(&path, next), "its first page is of timeline 1 at")?;
    site.refused(&push(&site.path("nothing"), &name), "cannot read")?;
    let short = site.path("short");
    fs::write(&short, &fs::read(&path)?[..8192])?;
    site.refused(&push(&short, &name), "it has 8192 bytes")?;
    let empty = site.path("empty");
    fs::write(&empty, "")?;
    site.refused(
        &push(&empty, &name),
        "its first page is not that of a segment",
    )?;
    assert_eq!(
        site.names_in(&site.shipped("logs.complete"))?,
        [".walmgr"],
        "nothing is there"
    );
    // A history is what it is.
    let history = site.path("history");
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n")?;
    site.program(&push(&history, "00000002.history"))
        .succeed()?;
    // The disk is gone: an empty directory is no place for more.
    fs::create_dir(site.shipped("data.master"))?;
    fs::write(site.shipped("data.master/walmgr_backup.json"), "{}")?;
    site.refused(
        &push(&path, &name),
        "has no SYSTEMID, although base backups are there",
    )?;
    Ok(())
}

#[test]
fn the_other_end_of_ssh_dies_at_any_step() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.on_slave("setup")?;
    // A program there that dies on request.
    let fatal = site.path("fatal");
    let write = |step: &str| -> TestResult {
        let text = format!(
            "#!/bin/sh\nFAILPOINTS='{step}=return(kill)' exec {} \"$@\"\n",
            site.path("walmgr").display()
        );
        fs::write(&fatal, text)?;
        let mut permissions = fs::metadata(&fatal)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        Ok(fs::set_permissions(&fatal, permissions)?)
    };
    for step in STEPS.iter().filter(|step| step.starts_with("xreceive")) {
        write(step)?;
        let (path, name) = site.finished_segment()?;
        let line = format!(
            "--set remote_walmgr={} {}",
            fatal.display(),
            push(&path, &name)
        );
        site.refused(&line, "xreceive on slave of")?;
        let archived = site.archived(&name);
        if archived.exists() {
            assert!(fs::read(&archived)? == fs::read(&path)?, "{step}");
        }
        site.program(&push(&path, &name)).succeed()?;
        assert!(fs::read(&archived)? == fs::read(&path)?, "{step}");
    }
    // No program there, and nobody there.
    let (path, name) = site.finished_segment()?;
    let line = format!("--set remote_walmgr=/no/such {}", push(&path, &name));
    site.refused(&line, "there is no such program there")?;
    if let Some(sshd) = &mut site.sshd {
        sshd.stop();
    }
    site.refused(&push(&path, &name), "no connection, or it was cut")?;
    assert!(!site.archived(&name).exists());
    if let Some(sshd) = &mut site.sshd {
        sshd.start_again()?;
    }
    site.program(&push(&path, &name)).succeed()?;
    Ok(())
}
