//! Batched archiving: what waits goes along over one connection, and is reported only when it has arrived.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

/// A master behind ssh with segments that wait, and a program on the slave that counts how often it is called.
struct Batch {
    site: Site,
    names: Vec<String>,
}

impl Batch {
    fn new(segments: usize) -> TestResult<Batch> {
        let site = Site::behind_ssh()?;
        site.on_slave("setup")?;
        let mut batch = Batch {
            site,
            names: Vec::new(),
        };
        batch.remote("")?;
        for _ in 0..segments {
            batch.add()?;
        }
        Ok(batch)
    }

    /// What a standby would be given, in whichever form it is kept.
    fn handed_out(&self, name: &str) -> TestResult<Vec<u8>> {
        let target = self.site.path("s/wanted");
        let line = format!("slave.ini xrestore {name} {}", target.display());
        let output = self.site.program(&line).output()?;
        match output.status.code() {
            Some(0) => Ok(fs::read(target)?),
            Some(1) => Ok(Vec::new()),
            _ => Err(output.stderr.into()),
        }
    }

    /// One more that waits.
    fn add(&mut self) -> TestResult {
        let (_, name) = self.site.finished_segment()?;
        fs::write(self.status(&name), "")?;
        self.names.push(name);
        Ok(())
    }

    fn status(&self, name: &str) -> PathBuf {
        self.wal("archive_status").join(format!("{name}.ready"))
    }

    fn wal(&self, name: &str) -> PathBuf {
        self.site.master.data_dir().join("pg_wal").join(name)
    }

    /// What runs on the slave, and with which variables.
    fn remote(&self, variables: &str) -> TestResult {
        self.remote_with(variables, "none")
    }

    fn remote_with(&self, variables: &str, form: &str) -> TestResult {
        let remote = self.site.path("remote");
        let text = format!(
            "#!/bin/sh\necho \"$2\" >> {}\n{variables} exec {} \"$@\"\n",
            self.site.path("calls").display(),
            self.site.path("walmgr").display()
        );
        fs::write(&remote, text)?;
        fs::write(self.site.path("calls"), "")?;
        for (path, mode) in [(&remote, 0o755), (&self.site.path("calls"), 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        self.site.write_master(&format!(
            "remote_walmgr = {}\narchive_jobs = 4\narchive_spool = {}\nwal_compression = {form}",
            remote.display(),
            self.site.path("s/spool").display()
        ))
    }

    fn calls(&self) -> TestResult<Vec<String>> {
        let text = fs::read_to_string(self.site.path("calls"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn line(&self, name: &str) -> String {
        format!("master.ini xarchive {} {name}", self.wal(name).display())
    }

    fn is_archived(&self, name: &str) -> TestResult<bool> {
        Ok(self.handed_out(name)? == fs::read(self.wal(name))?)
    }

    /// Does what the server does: one after the other, again and again. Nothing may be reported that is not there.
    fn drain(&self) -> TestResult {
        for name in &self.names {
            if !self.status(name).exists() {
                continue;
            }
            wait_until("a segment to be archived", PATIENCE, || {
                let output = self.site.program(&self.line(name)).output()?;
                let is_done = output.status.success();
                assert!(!is_done || self.is_archived(name)?, "{name}");
                Ok(is_done)
            })?;
            fs::remove_file(self.status(name))?;
        }
        Ok(())
    }

    fn spool(&self) -> TestResult<Vec<String>> {
        self.site.names_in(&self.site.path("s/spool"))
    }
}

#[test]
fn what_waits_goes_along_over_one_connection() -> TestResult {
    let mut batch = Batch::new(5)?;
    let first = batch.names[0].clone();
    batch.site.program(&batch.line(&first)).succeed()?;
    for name in &batch.names {
        assert!(batch.is_archived(name)?, "{name}");
    }
    fs::remove_file(batch.status(&first))?;
    assert_eq!(batch.spool()?.len(), 4);
    batch.drain()?;
    assert_eq!(batch.calls()?, ["xserve"]);
    assert!(batch.spool()?.is_empty());
    let last = fs::read_to_string(batch.site.master.data_dir().join(".walshipping.last"))?;
    assert_eq!(Some(last.trim()), batch.names.last().map(String::as_str));

    // What has changed since it was sent is sent again, and refused: the archive has something else.
    batch.names.clear();
    batch.add()?;
    batch.add()?;
    let [third, fourth] = [batch.names[0].clone(), batch.names[1].clone()];
    batch.site.program(&batch.line(&third)).succeed()?;
    assert_eq!(batch.spool()?, [format!("{fourth}.ok")]);
    let mut bytes = fs::read(batch.wal(&fourth))?;
    *bytes.last_mut().ok_or("a segment has bytes")? ^= 1;
    fs::write(batch.wal(&fourth), bytes)?;
    batch.site.refused(
        &batch.line(&fourth),
        "is there with other content, and stays",
    )?;

    // Some compressed, some not.
    batch.names.clear();
    batch.remote_with("", "zstd")?;
    for _ in 0..3 {
        batch.add()?;
    }
    batch.drain()?;
    assert_eq!(batch.calls()?, ["xserve"]);
    for name in &batch.names {
        let compressed = fs::metadata(batch.site.archived(&format!("{name}.zst")))?;
        assert!(compressed.len() < 1 << 19 && !batch.site.archived(name).exists());
    }

    // What does not wait any more leaves nothing behind.
    fs::write(batch.site.path("s/spool").join(format!("{first}.ok")), "")?;
    batch.add()?;
    let last = batch.names[3].clone();
    batch.site.program(&batch.line(&last)).succeed()?;
    assert!(batch.spool()?.is_empty());
    Ok(())
}

#[test]
fn what_cannot_be_sent_ahead_does_not_hold_up_what_is_asked_for() -> TestResult {
    let mut batch = Batch::new(4)?;
    let [first, second, third, fourth] = &batch.names[..] else {
        return Err("four segments".into());
    };
    // One is gone, one is none.
    fs::remove_file(batch.wal(second))?;
    fs::write(batch.wal(third), "nonsense")?;
    batch.site.program(&batch.line(first)).succeed()?;
    assert!(batch.is_archived(first)? && batch.is_archived(fourth)?);
    assert_eq!(batch.spool()?, [format!("{fourth}.ok")]);
    // One that is asked for and is none is refused, and the others are not told of.
    batch.site.refused(
        &batch.line(third),
        "its first page is not that of a segment",
    )?;
    // No place for acknowledgements: then it goes alone.
    let spool = batch.site.path("s/spool");
    fs::remove_dir_all(&spool)?;
    fs::write(&spool, "")?;
    batch.names.clear();
    batch.add()?;
    batch.add()?;
    let output = batch.site.program(&batch.line(&batch.names[0])).succeed()?;
    assert!(
        output.stderr.contains("cannot use archive_spool"),
        "{}",
        output.stderr
    );
    assert!(batch.is_archived(&batch.names[0])?);
    assert!(!batch.is_archived(&batch.names[1])?);
    // More than one at a time, and no place to note it.
    batch.site.write_master("archive_jobs = 4")?;
    batch
        .site
        .refused(&batch.line(&batch.names[1]), "needs archive_spool")
}

#[test]
fn death_in_a_batch_loses_nothing_and_reports_nothing_too_early() -> TestResult {
    // At the second file of four.
    let here = ["xarchive.written", "xarchive.answered", "xarchive.sent"];
    let there = [
        "xreceive.created",
        "xreceive.synced",
        "xreceive.summed",
        "xreceive.published",
    ];
    let mut batch = Batch::new(0)?;
    for step in here.iter().chain(&there) {
        batch.names.clear();
        for _ in 0..4 {
            batch.add()?;
        }
        let passes = match *step {
            "xarchive.sent" => 0,
            _ => 1,
        };
        let failpoint = format!("{step}={passes}*off->return(kill)");
        let is_here = here.contains(step);
        batch.remote(&match is_here {
            true => String::new(),
            false => format!("FAILPOINTS='{failpoint}'"),
        })?;
        let mut program = batch.site.program(&batch.line(&batch.names[0]));
        if is_here {
            program = program.env("FAILPOINTS", &failpoint);
        }
        let output = program.output()?;
        // Here nobody is told anything; there the first file had arrived.
        let expected = if is_here { None } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{step}: {}", output.stderr);
        for note in batch.spool().unwrap_or_default() {
            let name = note.trim_end_matches(".ok");
            assert!(batch.is_archived(name)?, "{step}: {name} is noted");
        }
        batch.remote("")?;
        batch.drain()?;
        for name in &batch.names {
            assert!(batch.is_archived(name)?, "{step}: {name}");
        }
    }
    Ok(())
}

#[test]
fn a_server_archives_in_batches_over_a_shared_connection() -> TestResult {
    let mut site = Site::behind_ssh()?;
    let spool = site.path("s/spool");
    site.write_master(&format!(
        "archive_jobs = 2\narchive_spool = {}\nssh_multiplex = 1\nssh_persist = 1",
        spool.display()
    ))?;
    site.set_up()?;
    let mut db = site.db()?;
    let mut names = Vec::new();
    for _ in 0..12 {
        let name: String = db
            .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
            .get(0);
        db.batch_execute("create table t (); drop table t; select pg_switch_wal()")?;
        names.push(name);
    }
    site.switch(&mut db)?;
    let wal = site.master.data_dir().join("pg_wal");
    for name in &names {
        assert!(
            fs::read(site.archived(name))? == fs::read(wal.join(name))?,
            "{name}"
        );
    }
    wait_until("all to be reported", PATIENCE, || {
        Ok(site.names_in(&spool)?.is_empty())
    })?;
    let failed: i64 = db
        .query_one("select failed_count from pg_stat_archiver", &[])?
        .get(0);
    assert_eq!(failed, 0, "{}", site.logs());
    Ok(())
}
