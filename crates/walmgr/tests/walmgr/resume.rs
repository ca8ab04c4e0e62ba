//! `backup --resume`: what has been copied is a hint, and what is wrong with it is found.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use testkit::{TestResult, wait_until};

use crate::backup::{content, sets, site, verify};
use crate::{PATIENCE, Site};

/// Dies at a step of a backup.
fn dies_at(site: &Site, line: &str, step: &str, code: Option<i32>) -> TestResult {
    let output = site
        .program(line)
        .env("FAILPOINTS", format!("{step}=return(kill)"))
        .output()?;
    assert_eq!(output.status.code(), code, "{step}: {}", output.stderr);
    Ok(())
}

#[test]
fn a_copy_that_is_gone_on_with_is_what_a_new_one_is() -> TestResult {
    let site = site()?;
    let mut db = site.db()?;
    // There is nothing yet to go on with.
    let said = site.on_master("backup --resume")?.stderr;
    assert!(said.contains("a new one begins"), "{said}");
    let anew = content(&site, "data.master")?;
    let resume = "master.ini backup --resume";
    // Its rsync goes on for a while, and does no harm.
    let mut running = site
        .program("master.ini backup --set backup_bwlimit=2000")
        .spawn()?;
    let left = site.shipped("data.master.inprogress");
    wait_until("some files to be there", PATIENCE, || {
        Ok(left.join("base/1/1259").exists())
    })?;
    running.kill()?;
    wait_until("the lock to be free", PATIENCE, || {
        Ok(!site.archived("BACKUPLOCK").exists())
    })?;
    // As something that cannot be removed now.
    let in_the_way = site.shipped(".trash.data.master.inprogress");
    fs::write(&in_the_way, "")?;
    dies_at(&site, resume, "begin.taken", Some(1))?;
    dies_at(&site, resume, "backup.tablespace", None)?;
    let kept = fs::metadata(left.join("base/1/1259"))?.ino();

    // Bytes that differ behind the same size and time, and what is not the master's, or not any more.
    let spoilt = |name: &str| -> TestResult {
        let path = left.join(name);
        let modified = fs::metadata(&path)?.modified()?;
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xFF;
        fs::write(&path, bytes)?;
        Ok(File::options()
            .write(true)
            .open(&path)?
            .set_modified(modified)?)
    };
    let spaces = site.names_in(&left.join("tmpspc"))?;
    let mut of_space = String::new();
    for entry in walk(&left.join("tmpspc").join(&spaces[0]))? {
        of_space = format!("tmpspc/{}/{entry}", spaces[0]);
    }
    for name in ["base/1/1255", "global/1262", of_space.as_str()] {
        spoilt(name)?;
    }
    fs::create_dir(left.join("tmpspc/99999"))?;
    for name in [
        "tmpspc/99999/x",
        "base/1/4294967295",
        "tablespace_map",
        "global/.1262.partly",
    ] {
        fs::write(left.join(name), "gone\n")?;
    }
    site.owner.give(&left.join("tmpspc/99999"))?;
    db.batch_execute("insert into t values (0); insert into s values (0); checkpoint")?;

    // Interrupted again, and when it was nearly done.
    dies_at(&site, resume, "backup.data", None)?;
    dies_at(&site, resume, "commit.labelled", Some(1))?;
    fs::remove_file(in_the_way)?;
    let said = site.program(resume).succeed()?.stderr;
    assert!(said.contains("going on with the copy"), "{said}");
    assert_eq!(content(&site, "data.master")?, anew);
    assert_eq!(sets(&site)?, ["data.master", "data.master.0"]);
    let now = fs::metadata(site.shipped("data.master/base/1/1259"))?.ino();
    assert_eq!(now, kept, "copied again");
    verify(&site, "data.master")?;
    site.on_slave("verify --all")?;
    let label = fs::read_to_string(site.shipped("data.master/backup_label"))?;
    let json = fs::read_to_string(site.shipped("data.master/walmgr_backup.json"))?;
    let start = label
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(3));
    assert!(json.contains(start.ok_or("no start")?), "{label}{json}");
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 102)?;
    let rows = standby.query_one("select count(*) from s", &[])?;
    assert_eq!(rows.get::<_, i64>(0), 101);
    Ok(())
}

#[test]
fn a_copy_of_another_kind_is_not_gone_on_with() -> TestResult {
    let site = site()?;
    dies_at(&site, "master.ini backup", "backup.data", None)?;
    let json = site.shipped("data.master.inprogress/walmgr_backup.json");
    let text = fs::read_to_string(&json)?;
    fs::write(&json, text.replace("\"rsync\"", "\"native\""))?;
    fs::write(site.shipped("data.master.inprogress/base/1/1"), "")?;
    let said = site.on_master("backup --resume")?.stderr;
    assert!(
        said.contains("is of another kind: a new copy begins"),
        "{said}"
    );
    assert!(!site.shipped("data.master/base/1/1").exists());
    for (line, why) in [
        (
            "master.ini backup --resume --set backup_method=native",
            "always begins anew",
        ),
        (
            "master.ini backup --resume --set backup_method=basebackup",
            "always begins anew",
        ),
        ("slave.ini backup --resume", "always begins anew"),
    ] {
        site.refused(line, why)?;
    }
    Ok(())
}

/// Files below a directory, by their paths in it.
fn walk(dir: &std::path::Path) -> TestResult<Vec<String>> {
    let output = std::process::Command::new("find")
        .arg(dir)
        .args(["-type", "f", "-size", "+0", "-printf", "%P\n"])
        .output()?;
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .map(str::to_owned)
        .collect())
}
