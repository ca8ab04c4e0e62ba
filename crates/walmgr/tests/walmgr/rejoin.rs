//! `rejoin`: a master that returns becomes a standby of the one that took over.

use std::fs;
use std::path::PathBuf;

use postgres::Client;
use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

const STEPS: [&str; 4] = [
    "rejoin.stopped",
    "rejoin.rewinding",
    "rejoin.rewound",
    "rejoin.ready",
];

/// The master's side after its time as a master: `old.ini` is for the slave that it becomes.
pub(crate) struct Old {
    pub(crate) site: Site,
}

impl Old {
    /// A master with a running standby, both with these settings; `slave.ini` names the master as its primary.
    pub(crate) fn new(settings: &str) -> TestResult<Old> {
        let mut site = Site::new()?;
        let mut db = site.db()?;
        for setting in settings.split_terminator(';') {
            db.batch_execute(&format!("alter system set {setting}"))?;
        }
        site.write_slave(&format!(
            "primary_conninfo = {}\n",
            site.master.conninfo("postgres")
        ))?;
        site.set_up()?;
        let mut db = site.db()?;
        db.batch_execute("create table t (id int primary key, xid text)")?;
        site.on_master("backup")?;
        site.on_slave("restore")?;
        drop(site.standby()?);
        let data = site.master.data_dir();
        let pg_ctl = format!(
            "{}/pg_ctl -D {} -w -t 60 -l {}",
            site.master.bindir().display(),
            data.display(),
            site.path("old.server.log").display(),
        );
        let text = format!(
            "[wal-slave]\njob_name = old\nslave_data = {}\nslave_bin = {}\n\
             slave_start_cmd = {pg_ctl} start\nslave_stop_cmd = {pg_ctl} -m fast stop\nslave = {}\n\
             completed_wals = %(slave)s/logs.complete\npartial_wals = %(slave)s/logs.partial\n\
             full_backup = %(slave)s/data.master\nlogfile = {}\nwal_poll_interval = 200ms\n\
             primary_conninfo = host={} port=5432 user=postgres application_name=old\n",
            data.display(),
            site.master.bindir().display(),
            site.path("ship.old").display(),
            site.path("old.log").display(),
            site.path("s").display(),
        );
        fs::write(site.path("old.ini"), text)?;
        // As the user of the server has it: what is moved aside has to have a place.
        let above = data.parent().ok_or("a directory above")?;
        site.owner.give(above)?;
        let old = Old { site };
        old.site.program("old.ini setup").succeed()?;
        Ok(old)
    }

    /// One row, on the given side.
    fn insert(db: &mut Client, id: i32) -> TestResult<String> {
        let sql = "insert into t values ($1, txid_current()::text) returning xid";
        Ok(db.query_one(sql, &[&id])?.get(0))
    }

    /// Waits until this side has exactly these rows.
    fn wait_for(&self, db: &mut Client, ids: &[i32]) -> TestResult {
        wait_until("the rows to arrive", PATIENCE, || {
            let rows = db.query("select id from t order by 1", &[])?;
            Ok(rows
                .iter()
                .map(|row| row.get::<_, i32>(0))
                .eq(ids.iter().copied()))
        })
        .map_err(|error| format!("{error}\n{}", self.logs()).into())
    }

    pub(crate) fn logs(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.site.path(name)).unwrap_or_default();
        format!(
            "{}old.log:\n{}old server:\n{}",
            self.site.logs(),
            text("old.log"),
            text("old.server.log")
        )
    }

    pub(crate) fn rejoin(&self, options: &str) -> TestResult<String> {
        let line = format!("old.ini rejoin {options}");
        let output = self.site.program(&line).succeed();
        Ok(output
            .map_err(|error| format!("{error}\n{}", self.logs()))?
            .stderr)
    }

    /// The master opens its slave, though it lives, and goes on by itself: the rows 1 on both sides, 2 and 3 on the
    /// old one alone, 4 on the new one. Then it dies.
    fn part(&mut self) -> TestResult<Vec<String>> {
        let mut db = self.site.db()?;
        Old::insert(&mut db, 1)?;
        self.wait_for(&mut self.site.standby()?, &[1])?;
        self.site.on_slave("boot --force")?;
        let lost = vec![Old::insert(&mut db, 2)?, Old::insert(&mut db, 3)?];
        Old::insert(&mut self.site.standby()?, 4)?;
        Ok(lost)
    }

    fn pg_ctl(&self, args: &[&str]) -> TestResult<bool> {
        let mut command = self.site.master.command("pg_ctl");
        command
            .arg("-D")
            .arg(self.site.master.data_dir())
            .args(args)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Ok(command.status()?.success())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.site.master.data_dir().into_os_string();
        name.push(suffix);
        name.into()
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        // Started by the program, and not by the test.
        let _ = self.pg_ctl(&["-m", "immediate", "-w", "stop"]);
    }
}

#[test]
fn what_only_the_old_master_has_is_told_and_goes_by_force_alone() -> TestResult {
    let mut old = Old::new("wal_log_hints = on;full_page_writes = on;autovacuum = off")?;
    let lost = old.part()?;
    // It runs as a primary: not by mistake.
    old.site
        .refused("old.ini rejoin", "is a primary and not a standby")?;
    old.site.master.stop(Shutdown::Kill)?;
    if !old.site.has("pg_rewind") {
        // Nobody can tell what was committed.
        old.site
            .refused("old.ini rejoin", "it is not known what was committed here")?;
        return Ok(());
    }
    let told = "2 transactions were committed here after the primary left timeline 1 at 0/";
    let before = fs::read(old.site.master.data_dir().join("global/pg_control"))?;
    let shown = old.site.program("old.ini rejoin -n").succeed()?.stdout;
    assert!(shown.contains(told), "{shown}");
    assert!(shown.contains("by pg_rewind, and run: "), "{shown}");
    old.site.refused("old.ini rejoin", told)?;
    let after = fs::read(old.site.master.data_dir().join("global/pg_control"))?;
    assert!(before == after, "a refusal changes nothing");
    let said = old.rejoin("--force")?;
    assert!(said.contains(told), "{said}");
    assert!(
        said.contains("timeline=2") && said.contains("streams"),
        "{said}"
    );
    let list = fs::read_to_string(old.beside(".lost"))?;
    for xid in &lost {
        assert!(
            list.contains(&format!(" xid {xid}\n")),
            "{xid} is not in {list}"
        );
    }
    assert!(!old.beside(".0").exists(), "rewound, and not replaced");
    assert!(!old.beside(".config").exists() && !old.beside(".rejoining").exists());
    let mut standby = old.site.db()?;
    old.wait_for(&mut standby, &[1, 4])?;
    Old::insert(&mut old.site.standby()?, 5)?;
    old.wait_for(&mut standby, &[1, 4, 5])?;
    // Its own configuration, and nothing that it archived with.
    let setting: String = standby.query_one("show archive_command", &[])?.get(0);
    assert_eq!(setting, "/bin/true");
    let setting: String = standby.query_one("show wal_keep_size", &[])?.get(0);
    assert_eq!(setting, "64MB");
    let check = old.site.program("old.ini check").output()?.stdout;
    assert!(
        check.contains("standby: OK (streams on timeline 2"),
        "{check}"
    );
    Ok(())
}

#[test]
fn wal_that_the_old_master_has_no_more_comes_from_its_archive() -> TestResult {
    let mut old = Old::new(
        "wal_log_hints = on;full_page_writes = on;wal_keep_size = 0;min_wal_size = '2MB'",
    )?;
    if !old.site.has("pg_rewind") {
        return Ok(());
    }
    old.part()?;
    let mut db = old.site.db()?;
    let first: String = db
        .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
        .get(0);
    let path = old.site.master.data_dir().join("pg_wal").join(first);
    let mut id = 100;
    wait_until("the master to recycle its WAL", PATIENCE, || {
        id += 1;
        Old::insert(&mut db, id)?;
        old.site.switch(&mut db)?;
        db.batch_execute("checkpoint")?;
        Ok(!path.exists())
    })?;
    drop(db);
    old.site.master.stop(Shutdown::Kill)?;
    old.site.refused(
        "old.ini rejoin",
        "its WAL of that time is gone; rejoin throws that away",
    )?;
    let archive = old.site.path("master.ini");
    old.rejoin(&format!("--force --archive-of {}", archive.display()))?;
    assert!(!old.beside(".0").exists(), "{}", old.logs());
    old.wait_for(&mut old.site.db()?, &[1, 4])
}

#[test]
fn what_cannot_be_rewound_is_replaced_and_kept_beside() -> TestResult {
    let mut old = Old::new("wal_log_hints = off")?;
    if !old.site.has("pg_basebackup") {
        return Ok(());
    }
    old.part()?;
    old.site.master.stop(Shutdown::Kill)?;
    let mut new = old.site.standby()?;
    let space = old.site.path("space");
    fs::create_dir(&space)?;
    old.site.owner.give(&space)?;
    new.batch_execute(&format!(
        "create tablespace space location '{}'",
        space.display()
    ))?;
    new.batch_execute("create table s (id int) tablespace space; insert into s values (1)")?;
    let shown = old.site.program("old.ini rejoin -n").succeed()?.stdout;
    assert!(
        shown.contains("take a new base backup of the primary"),
        "{shown}"
    );
    let said = old.rejoin("--force")?;
    assert!(
        said.contains("no pg_rewind, but a new base backup"),
        "{said}"
    );
    assert!(old.beside(".0").join("PG_VERSION").exists());
    let mut standby = old.site.db()?;
    old.wait_for(&mut standby, &[1, 4])?;
    new.batch_execute("insert into s values (2)")?;
    wait_until("the tablespace to follow", PATIENCE, || {
        let row = standby.query_one("select count(*) from s", &[])?;
        Ok(row.get::<_, i64>(0) == 2)
    })?;
    let location: String = standby
        .query_one(
            "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'space'",
            &[],
        )?
        .get(0);
    let own = old.site.master.data_dir().join("tmpspc");
    assert!(
        location.starts_with(&own.display().to_string()),
        "{location}"
    );
    Ok(())
}

/// Debian's layout: the configuration is elsewhere, and names what is where.
fn move_configuration(old: &Old) -> TestResult<PathBuf> {
    let (data, etc) = (old.site.master.data_dir(), old.site.path("etc"));
    fs::create_dir(&etc)?;
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::copy(data.join(name), etc.join(name))?;
        fs::remove_file(data.join(name))?;
        old.site.owner.give(&etc.join(name))?;
    }
    let conf = etc.join("postgresql.conf");
    let text = format!(
        "{}data_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n",
        fs::read_to_string(&conf)?,
        data.display(),
        etc.join("pg_hba.conf").display(),
        etc.join("pg_ident.conf").display()
    );
    fs::write(&conf, text)?;
    let ini = fs::read_to_string(old.site.path("old.ini"))?;
    let start = format!(" -o \"-c config_file={}\" start\n", conf.display());
    let ini = ini.replacen(" start\n", &start, 1);
    fs::write(
        old.site.path("old.ini"),
        format!("{ini}slave_config_dir = {}\n", etc.display()),
    )?;
    Ok(conf)
}

#[test]
fn a_configuration_outside_of_the_data_directory_stays_the_one_in_use() -> TestResult {
    let mut old = Old::new("wal_log_hints = on;full_page_writes = on;autovacuum = off")?;
    if !old.site.has("pg_rewind") {
        return Ok(());
    }
    old.part()?;
    old.site.master.stop(Shutdown::Kill)?;
    let conf = move_configuration(&old)?;
    let text = fs::read_to_string(&conf)?;
    for options in ["--force", "--base-backup"] {
        old.rejoin(options)?;
        let mut standby = old.site.db()?;
        old.wait_for(&mut standby, &[1, 4])?;
        let shown: String = standby.query_one("show config_file", &[])?.get(0);
        assert_eq!(shown, conf.display().to_string(), "{options}");
        let command: String = standby.query_one("show archive_command", &[])?.get(0);
        assert_eq!(command, "/bin/true", "{options}");
        assert_eq!(fs::read_to_string(&conf)?, text, "{options}");
        // Before 15 it cannot be rewound there.
        let is_replaced = options != "--force" || old.site.master.major() < 15;
        assert_eq!(old.beside(".0").exists(), is_replaced, "{options}");
        let has_foreign = old.site.master.data_dir().join("pg_hba.conf").exists();
        assert!(is_replaced || !has_foreign, "{options}");
    }
    Ok(())
}

#[test]
fn death_at_any_step_is_made_good_by_the_next_rejoin() -> TestResult {
    let mut old = Old::new("wal_log_hints = on;full_page_writes = on;autovacuum = off")?;
    if !old.site.has("pg_rewind") {
        return Ok(());
    }
    old.part()?;
    old.site.master.stop(Shutdown::Kill)?;
    let mut new = old.site.standby()?;
    let mut rows = vec![1, 4];
    for (step, id) in STEPS.iter().zip((1000..).step_by(10)) {
        let output = old
            .site
            .program("old.ini rejoin --force")
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step}: {}", output.stderr);
        if *step == "rejoin.rewinding" {
            let check = old.site.program("old.ini check").output()?.stdout;
            assert!(
                check.contains(".rejoining: a rejoin that was interrupted"),
                "{check}"
            );
        }
        if id > 1000 {
            assert!(
                output.stderr.contains("1 transaction was committed here"),
                "{step}: {}",
                output.stderr
            );
        }
        old.rejoin("--force")
            .map_err(|error| format!("{step}: {error}"))?;
        let is_new = old.beside(".0").exists();
        let is_half_rewound = matches!(*step, "rejoin.rewinding" | "rejoin.rewound");
        assert_eq!(is_new, is_half_rewound, "{step}");
        if is_new {
            fs::remove_dir_all(old.beside(".0"))?;
        }
        Old::insert(&mut new, id)?;
        rows.push(id);
        let mut standby = old.site.db()?;
        old.wait_for(&mut standby, &rows)?;
        // It opens itself, by mistake, and dies.
        assert!(old.pg_ctl(&["-w", "promote"])?);
        Old::insert(&mut standby, id + 1)?;
        drop(standby);
        Old::insert(&mut new, id + 2)?;
        rows.push(id + 2);
        assert!(old.pg_ctl(&["-w", "-m", "immediate", "stop"])?);
    }
    old.rejoin("--force")?;
    old.wait_for(&mut old.site.db()?, &rows)
}

#[test]
fn masters_take_turns_and_nothing_is_lost() -> TestResult {
    let mut old = Old::new("")?;
    let mut db = old.site.db()?;
    Old::insert(&mut db, 1)?;
    drop(db);
    old.site.master.stop(Shutdown::Fast)?;
    old.site.on_master("sync")?;
    old.site.on_slave("boot")?;
    let mut rows = vec![1];
    for turn in 2..5 {
        // The one that was the master last follows the other, as it is.
        let (ini, mut primary) = match turn % 2 {
            0 => ("old.ini", old.site.standby()?),
            _ => ("slave.ini", old.site.db()?),
        };
        let output = old.site.program(&format!("{ini} rejoin")).succeed();
        let said = output
            .map_err(|error| format!("{turn}: {error}\n{}", old.logs()))?
            .stderr;
        assert!(
            said.contains("the primary has all that was committed here"),
            "{said}"
        );
        Old::insert(&mut primary, turn)?;
        rows.push(turn);
        drop(primary);
        let standby = match turn % 2 {
            0 => old.site.db(),
            _ => old.site.standby(),
        };
        old.wait_for(&mut standby?, &rows)?;
        // It stops in good order, and the other takes over.
        let stop = match turn % 2 {
            0 => old.site.path("slave"),
            _ => old.site.master.data_dir(),
        };
        let mut command = old.site.master.command("pg_ctl");
        let status = command
            .arg("-D")
            .arg(stop)
            .args(["-m", "fast", "-w", "stop"])
            .stdout(std::process::Stdio::null())
            .status()?;
        assert!(status.success());
        let output = old.site.program(&format!("{ini} boot")).succeed();
        let said = output
            .map_err(|error| format!("{turn}: {error}\n{}", old.logs()))?
            .stderr;
        let timelines = format!("new_timeline={}", turn + 1);
        assert!(said.contains(&timelines), "{said}");
    }
    Ok(())
}

#[test]
fn only_what_was_a_master_rejoins_and_only_one_that_took_over() -> TestResult {
    let mut old = Old::new("")?;
    old.site
        .refused("master.ini rejoin", "is not available on this node")?;
    old.site
        .refused("old.ini rejoin --set primary_conninfo=", "primary_conninfo")?;
    old.site
        .refused("old.ini rejoin", "is a primary and not a standby")?;
    old.site.master.stop(Shutdown::Fast)?;
    old.site
        .refused("old.ini rejoin", "leads to a server in recovery")?;
    let other = testkit::Cluster::start()?;
    let line = format!(
        "old.ini rejoin --set primary_conninfo={}",
        other.socket_dir().display()
    );
    old.site
        .refused(&line, "primary_conninfo: Invalid connect string")?;
    fs::write(
        old.site.path("other.ini"),
        fs::read_to_string(old.site.path("old.ini"))?
            .lines()
            .filter(|line| !line.starts_with("primary_conninfo"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            + &format!("primary_conninfo = {}\n", other.conninfo("postgres")),
    )?;
    old.site
        .refused("other.ini rejoin", "it was not opened by boot")
}
