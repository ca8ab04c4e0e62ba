//! `xrestore`: what is handed out, and what the server is told when nothing is.

use std::fs;
use std::path::PathBuf;

use testkit::{Output, TestResult};

use crate::Site;

/// An archive with three segments in it, and a directory that looks like that of a server.
struct Archive {
    site: Site,
    server: PathBuf,
    names: Vec<String>,
}

impl Archive {
    fn new() -> TestResult<Archive> {
        let site = Site::with(false, "gap_grace = 0.1")?;
        site.on_slave("setup")?;
        let mut names = Vec::new();
        for _ in 0..3 {
            let (path, name) = site.finished_segment()?;
            let line = format!("master.ini xarchive {} {name}", path.display());
            site.program(&line).succeed()?;
            names.push(name);
        }
        let server = site.path("server");
        fs::create_dir(&server)?;
        site.owner.give(&server)?;
        Ok(Archive {
            site,
            server,
            names,
        })
    }

    /// Asks as a standby and as a server that recovers; exit codes of both.
    fn ask(&self, arguments: &str) -> TestResult<[(Option<i32>, Output); 2]> {
        let line = format!(
            "{} xrestore {arguments}",
            self.site.path("slave.ini").display()
        );
        let mut answers = Vec::new();
        for is_standby in [true, false] {
            let signal = self.server.join("standby.signal");
            match is_standby {
                true => fs::write(&signal, "")?,
                false => fs::remove_file(&signal)?,
            }
            let _ = fs::remove_file(self.server.join("wanted"));
            let output = self.site.program_in(&line, &self.server).output()?;
            let is_there = self.server.join("wanted").exists();
            assert_eq!(
                output.status.success(),
                is_there,
                "{line}: {}",
                output.stderr
            );
            answers.push((output.status.code(), output));
        }
        let mut answers = answers.into_iter();
        match (answers.next(), answers.next()) {
            (Some(standby), Some(recovery)) => Ok([standby, recovery]),
            _ => Err("two answers".into()),
        }
    }

    #[track_caller]
    fn expect(&self, arguments: &str, codes: [i32; 2], why: &str) -> TestResult {
        let answers = self.ask(arguments)?;
        for ((code, output), expected) in answers.iter().zip(codes) {
            assert_eq!(*code, Some(expected), "{arguments}: {}", output.stderr);
            assert!(
                output.stderr.contains(why),
                "{arguments}: {}",
                output.stderr
            );
        }
        Ok(())
    }
}

#[test]
fn the_server_is_told_what_it_can_rely_on() -> TestResult {
    let archive = Archive::new()?;
    let [first, second, third] = &archive.names[..] else {
        return Err("three segments".into());
    };
    // There.
    archive.expect(&format!("{second} wanted {first}"), [0, 0], "{count: 1}")?;
    assert!(fs::read(archive.server.join("wanted"))? == fs::read(archive.site.archived(second))?);
    assert!(archive.site.archived("PROGRESS").exists());
    // Not there, and nothing after it either.
    archive.expect("0000000100000000000000F0 wanted", [1, 1], "")?;
    archive.expect(
        "00000002.history wanted 000000000000000000000000",
        [1, 1],
        "",
    )?;
    // Nobody knows.
    archive.expect("nonsense wanted", [1, 200], "is no name of a WAL file")?;
    archive.expect("--no-such-option", [1, 200], "unexpected argument")?;
    archive.expect("", [1, 200], "")?;
    // A gap ends a recovery that would open for writes; a standby asks again.
    let path = archive.site.archived(second);
    let bytes = fs::read(&path)?;
    fs::remove_file(&path)?;
    let [(standby, _), (recovery, output)] = archive.ask(&format!("{second} wanted"))?;
    assert_eq!(
        (standby, recovery),
        (Some(1), Some(200)),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("and later WAL is there"),
        "{}",
        output.stderr
    );
    // Even if recovery is to end.
    fs::write(archive.site.archived("STOP"), "1")?;
    archive.expect(&format!("{second} wanted"), [1, 200], "")?;
    // Damaged: one byte, the size, the header.
    let mut damaged = bytes.clone();
    *damaged.last_mut().ok_or("a segment has bytes")? ^= 1;
    fs::write(&path, &damaged)?;
    archive.expect(&format!("{second} wanted"), [1, 200], "is damaged")?;
    fs::write(&path, &bytes[..4096])?;
    archive.expect(&format!("{second} wanted"), [1, 200], "it has 4096 bytes")?;
    fs::write(&path, fs::read(archive.site.archived(third))?)?;
    archive.expect(
        &format!("{second} wanted"),
        [1, 200],
        "its first page is of timeline 1",
    )?;
    fs::write(&path, &bytes)?;
    archive.expect(&format!("{second} wanted"), [0, 0], "")?;
    // The archive is not mounted.
    let away = archive.site.path("away");
    fs::rename(archive.site.shipped("logs.complete"), &away)?;
    fs::create_dir(archive.site.shipped("logs.complete"))?;
    archive.expect(&format!("{second} wanted"), [1, 200], "is no archive")?;
    fs::remove_dir(archive.site.shipped("logs.complete"))?;
    fs::rename(&away, archive.site.shipped("logs.complete"))?;
    // The configuration is gone.
    fs::rename(archive.site.path("slave.ini"), archive.site.path("gone"))?;
    archive.expect(
        &format!("{second} wanted"),
        [1, 200],
        "Config file not found",
    )
}

#[test]
fn an_unfinished_segment_is_handed_out_only_when_recovery_ends() -> TestResult {
    let archive = Archive::new()?;
    let third = &archive.names[2];
    let partial = archive.site.shipped("logs.partial").join(third);
    fs::rename(archive.site.archived(third), &partial)?;
    archive.expect(&format!("{third} wanted"), [1, 1], "")?;
    fs::write(archive.site.archived("STOP"), "1")?;
    archive.expect(&format!("{third} wanted"), [0, 0], "")?;
    assert!(fs::read(archive.server.join("wanted"))? == fs::read(&partial)?);
    // Of two the one with more WAL in it.
    let other = archive.site.archived(&format!("{third}.partial"));
    let mut bytes = fs::read(&partial)?;
    fs::write(&other, &bytes)?;
    bytes[8192..].fill(0);
    fs::write(&partial, &bytes)?;
    archive.expect(&format!("{third} wanted"), [0, 0], "")?;
    assert!(fs::read(archive.server.join("wanted"))? == fs::read(&other)?);
    Ok(())
}

#[test]
fn nothing_is_handed_out_while_replay_is_held() -> TestResult {
    let archive = Archive::new()?;
    let first = &archive.names[0];
    archive.site.on_slave("pause")?;
    let signal = archive.server.join("standby.signal");
    fs::write(&signal, "")?;
    let line = format!(
        "{} xrestore {first} wanted",
        archive.site.path("slave.ini").display()
    );
    let output = archive.site.program_in(&line, &archive.server).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    archive.site.on_slave("continue")?;
    archive.site.program_in(&line, &archive.server).succeed()?;
    Ok(())
}
