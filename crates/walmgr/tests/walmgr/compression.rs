//! Compressed WAL: whole, verified, never over something else, and the same segment in every form.

use std::fs;
use std::path::Path;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

const FORMS: [(&str, &str); 2] = [("zstd", ".zst"), ("lz4", ".lz4")];

fn push(path: &Path, name: &str, form: &str) -> String {
    format!(
        "--set wal_compression={form} master.ini xarchive {} {name}",
        path.display()
    )
}

/// What a standby is given.
fn handed_out(site: &Site, name: &str) -> TestResult<Vec<u8>> {
    let target = site.path("s/wanted");
    let line = format!("xrestore {name} {}", target.display());
    site.on_slave(&line)?;
    let bytes = fs::read(&target)?;
    fs::remove_file(target)?;
    Ok(bytes)
}

/// Names of a segment's files in the archive.
fn forms_of(site: &Site, name: &str) -> TestResult<Vec<String>> {
    let mut names = site.names_in(&site.shipped("logs.complete"))?;
    names.retain(|other| other.starts_with(name));
    Ok(names)
}

fn a_segment_is_the_same_in_every_form(site: &Site) -> TestResult {
    site.on_slave("setup")?;
    for (form, suffix) in FORMS {
        let (path, name) = site.finished_segment()?;
        site.program(&push(&path, &name, form)).succeed()?;
        assert_eq!(forms_of(site, &name)?, [format!("{name}{suffix}")]);
        let size = fs::metadata(site.archived(&format!("{name}{suffix}")))?.len();
        assert!(size < 1 << 19, "{size} bytes");
        let content = fs::read(&path)?;
        assert!(handed_out(site, &name)? == content);
        // Again, in any form.
        for again in ["zstd", "none", "lz4"] {
            let output = site.program(&push(&path, &name, again)).succeed()?;
            // Behind ssh it is the slave that says so.
            assert!(
                site.sshd.is_some() || output.stderr.contains("already archived"),
                "{}",
                output.stderr
            );
            assert_eq!(forms_of(site, &name)?, [format!("{name}{suffix}")]);
        }
        // Something else of that name, in any form.
        let mut other = content.clone();
        *other.last_mut().ok_or("a segment has bytes")? ^= 1;
        fs::write(site.path("other"), &other)?;
        for again in ["zstd", "none", "lz4"] {
            site.refused(
                &push(&site.path("other"), &name, again),
                "is there with other content, and stays",
            )?;
        }
        assert!(handed_out(site, &name)? == content);
        let aside = site.names_in(&site.archived(".walmgr/conflict"))?;
        let aside: Vec<&String> = aside
            .iter()
            .filter(|file| file.starts_with(&name))
            .collect();
        assert_eq!(aside.len(), 3, "{aside:?}");
    }
    // What is no segment stays as it is.
    let history = site.path("history");
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n")?;
    site.program(&push(&history, "00000002.history", "zstd"))
        .succeed()?;
    assert!(fs::read(site.archived("00000002.history"))? == fs::read(&history)?);
    Ok(())
}

#[test]
fn a_segment_is_the_same_in_every_form_on_one_machine() -> TestResult {
    a_segment_is_the_same_in_every_form(&Site::new()?)
}

#[test]
fn a_segment_is_the_same_in_every_form_behind_ssh() -> TestResult {
    a_segment_is_the_same_in_every_form(&Site::behind_ssh()?)
}

#[test]
fn damage_is_told_whatever_the_form() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    for (form, suffix) in FORMS {
        let (path, name) = site.finished_segment()?;
        site.program(&push(&path, &name, form)).succeed()?;
        let archived = site.archived(&format!("{name}{suffix}"));
        let whole = fs::read(&archived)?;
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        let cut = whole[..whole.len() - 5].to_vec();
        let longer = [&whole[..], b"more"].concat();
        for damaged in [flipped, cut, longer, Vec::new()] {
            fs::write(&archived, &damaged)?;
            let target = site.path("s/wanted");
            let line = format!("slave.ini xrestore {name} {}", target.display());
            let output = site.program(&line).output()?;
            assert_eq!(output.status.code(), Some(200), "{}", output.stderr);
            assert!(!target.exists());
            // What comes again does not repair it without a word.
            site.refused(
                &push(&path, &name, form),
                "has been damaged since it was archived",
            )?;
        }
        fs::write(&archived, &whole)?;
        assert!(handed_out(&site, &name)? == fs::read(&path)?);
        // The quick digest is enough, and what is wrong with it harms nobody: the other one decides.
        let [sum, quick] =
            ["sum", "xxh3"].map(|end| site.archived(&format!(".walmgr/{name}.{end}")));
        let (known, noted) = (fs::read(&sum)?, fs::read(&quick)?);
        for damaged in [&noted[1..], b"0\n", b""] {
            fs::write(&quick, damaged)?;
            assert!(handed_out(&site, &name)? == fs::read(&path)?);
        }
        let other = format!("{} {}\n", "0".repeat(64), fs::metadata(&path)?.len());
        fs::write(&sum, other)?;
        fs::write(&quick, &noted)?;
        assert!(handed_out(&site, &name)? == fs::read(&path)?);
        fs::remove_file(&quick)?;
        let line = format!(
            "slave.ini xrestore {name} {}",
            site.path("s/wanted").display()
        );
        let output = site.program(&line).output()?;
        assert_eq!(output.status.code(), Some(200));
        assert!(output.stderr.contains("is damaged"), "{}", output.stderr);
        fs::write(&sum, known)?;
        assert!(handed_out(&site, &name)? == fs::read(&path)?);
    }
    Ok(())
}

#[test]
fn death_at_any_step_leaves_a_whole_compressed_file_or_none() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    for step in [
        "xreceive.created",
        "xreceive.block",
        "xreceive.written",
        "xreceive.synced",
        "xreceive.summed",
        "xreceive.published",
        "xarchive.sent",
    ] {
        let (path, name) = site.finished_segment()?;
        let output = site
            .program(&push(&path, &name, "zstd"))
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step}: {}", output.stderr);
        if !forms_of(&site, &name)?.is_empty() {
            assert!(handed_out(&site, &name)? == fs::read(&path)?, "{step}");
        }
        // The next try may be configured otherwise.
        site.program(&push(&path, &name, "lz4")).succeed()?;
        assert!(handed_out(&site, &name)? == fs::read(&path)?, "{step}");
        assert_eq!(forms_of(&site, &name)?.len(), 1, "{step}");
    }
    Ok(())
}

#[test]
fn a_standby_and_all_commands_read_an_archive_of_all_forms() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.on_master("backup")?;
    let mut db = site.db()?;
    db.batch_execute("create table t (form text)")?;
    for form in ["zstd", "none", "lz4", "zstd"] {
        site.write_master(&format!("wal_compression = {form}"))?;
        for _ in 0..2 {
            db.execute("insert into t values ($1)", &[&form])?;
            let name: String = db
                .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
                .get(0);
            db.batch_execute("select pg_switch_wal()")?;
            wait_until("the segment to be archived", PATIENCE, || {
                Ok(!forms_of(&site, &name)?.is_empty())
            })?;
        }
    }
    let names = site.names_in(&site.shipped("logs.complete"))?;
    for suffix in [".zst", ".lz4"] {
        assert!(names.iter().any(|name| name.ends_with(suffix)), "{names:?}");
    }
    site.on_slave("verify --all")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    wait_until("all rows to arrive", PATIENCE, || {
        let rows = standby.query_one("select count(*) from t", &[]);
        Ok(rows.is_ok_and(|row| row.get::<_, i64>(0) == 8))
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;

    // Damage and a gap are found in every form.
    let last = names.iter().rfind(|name| name.ends_with(".zst"));
    let path = site.archived(last.ok_or("a compressed segment")?);
    let whole = fs::read(&path)?;
    fs::write(&path, &whole[..whole.len() / 2])?;
    let output = site.program("slave.ini verify --wal-only").output()?;
    assert_eq!(output.status.code(), Some(3), "{}", output.stdout);
    let lz4 = names.iter().find(|name| name.ends_with(".lz4"));
    let lz4 = lz4.ok_or("a compressed segment")?;
    fs::remove_file(site.archived(lz4))?;
    let output = site.program("slave.ini verify --wal-only").output()?;
    let missing = format!("{} is missing", lz4.trim_end_matches(".lz4"));
    assert!(output.stdout.contains(&missing), "{}", output.stdout);

    // The next backup lets all of them go.
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let left = site.names_in(&site.shipped("logs.complete"))?;
    assert!(!left.contains(&names[1]), "{left:?}");
    assert!(!left.iter().any(|name| name.ends_with(".lz4")), "{left:?}");
    Ok(())
}
