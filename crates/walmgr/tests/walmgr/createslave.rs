//! `createslave`, `synch-standby`, and what of them `stop` and `boot` undo or ask for.

use std::fs;

use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

impl Site {
    /// A slave whose standby shall stream, with more lines in its file.
    fn streaming(lines: &str) -> TestResult<Site> {
        let site = Site::with(false, lines)?;
        let conninfo = site
            .master
            .conninfo("postgres")
            .replace(" dbname=postgres", "");
        site.write_slave(&format!("primary_conninfo = {conninfo}\n{lines}"))?;
        Ok(site)
    }
}

const SLOTS: &str =
    "select coalesce(string_agg(slot_name || ' ' || active, ', '), '') from pg_replication_slots";

#[test]
fn a_slave_is_made_from_the_master_alone_and_streams() -> TestResult {
    let mut site = Site::streaming("")?;
    // Not every build of the server has it.
    if !site.has("pg_basebackup") {
        return Ok(());
    }
    site.set_up()?;
    let space = site.path("space");
    fs::create_dir(&space)?;
    site.owner.give(&space)?;
    let mut db = site.db()?;
    db.batch_execute(&format!(
        "create tablespace space location '{}'",
        space.display()
    ))?;
    db.batch_execute("create table t (id int) tablespace space; insert into t values (1)")?;
    let shown = site.on_slave("createslave -n")?.stdout;
    assert!(
        shown.starts_with("would make the slot slave, copy"),
        "{shown}"
    );
    let slots =
        |db: &mut postgres::Client| -> TestResult<String> { Ok(db.query_one(SLOTS, &[])?.get(0)) };
    assert_eq!(slots(&mut db)?, "");
    // It fails at the copy, and leaves no slot that would keep WAL for nobody.
    let output = site
        .program("slave.ini createslave")
        .env("FAILPOINTS", "")
        .args([
            "--set",
            "slave_start_cmd=true",
            "--set",
            "slave_pg_xlog=/proc/none",
        ])
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("pg_basebackup: exit status: 1"),
        "{}",
        output.stderr
    );
    assert_eq!(slots(&mut db)?, "");
    assert!(!site.path("slave").exists());
    let said = site.on_slave("createslave")?.stderr;
    assert!(said.contains("the standby streams"), "{said}");
    assert_eq!(slots(&mut db)?, "slave true");
    let mut standby = site.standby()?;
    // What has not been archived is there.
    db.batch_execute("insert into t values (2)")?;
    let count = "select count(*) from t";
    site.wait_for_rows(&mut standby, 2)?;
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
    let check = site.program("slave.ini check").output()?.stdout;
    for line in [
        "standby: OK (streams on timeline 1 (pid",
        "timeline: OK (1)\n",
        "replay: OK (at ",
    ] {
        assert!(check.contains(line), "no '{line}' in {check}");
    }
    let check = site.program("master.ini check").output()?.stdout;
    assert!(check.contains("slots: OK (slave active, "), "{check}");
    // Its slot is taken as long as it runs.
    site.refused("slave.ini createslave", "the slot slave is in use")?;
    // There are not two masters.
    site.refused("slave.ini boot", "is alive, and a primary: stop it")?;
    drop(db);
    site.master.stop(Shutdown::Fast)?;
    site.on_slave("boot")?;
    assert_eq!(site.standby()?.query_one(count, &[])?.get::<_, i64>(0), 2);
    Ok(())
}

#[test]
fn commits_wait_for_standbys_that_are_there_until_stop() -> TestResult {
    let mut site = Site::streaming("")?;
    // Not every build of the server has it.
    if !site.has("pg_basebackup") {
        return Ok(());
    }
    site.set_up()?;
    let output = site
        .program("master.ini synch-standby")
        .args(["*"])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output
            .stderr
            .contains("every commit would wait: connected are none"),
        "{}",
        output.stderr
    );
    site.on_slave("createslave")?;
    let mut db = site.db()?;
    let names = "show synchronous_standby_names";
    let shown = site.on_master("synch-standby slave -n")?.stdout;
    assert!(
        shown.contains("+synchronous_standby_names = 'slave'"),
        "{shown}"
    );
    let output = site
        .program("master.ini synch-standby")
        .args(["ANY 1 (SLAVE, other)"])
        .succeed()?;
    assert!(
        output.stderr.contains("not connected: other"),
        "{}",
        output.stderr
    );
    wait_until("the setting to count", PATIENCE, || {
        Ok(db.query_one(names, &[])?.get::<_, String>(0) == "ANY 1 (SLAVE, other)")
    })?;
    db.batch_execute("create table t (id int)")?;
    let state: String = db
        .query_one("select sync_state from pg_stat_replication", &[])?
        .get(0);
    assert_eq!(state, "quorum");
    let output = site
        .program("master.ini synch-standby")
        .args(["2 (slave, other)"])
        .output()?;
    assert!(
        output.stderr.contains("1 of 2 standbys are connected"),
        "{}",
        output.stderr
    );
    site.refused("master.ini synch-standby a-b", "'a-b' is no name")?;
    // Without a configuration, by the data directory.
    let data = site.master.data_dir();
    site.program("--synch-standby slave --pgdata")
        .args([&data])
        .succeed()?;
    wait_until("the setting to count", PATIENCE, || {
        Ok(db.query_one(names, &[])?.get::<_, String>(0) == "slave")
    })?;
    let said = site.on_master("stop")?.stderr;
    assert!(
        said.contains("synchronous_standby_names is empty now"),
        "{said}"
    );
    wait_until("the setting to count", PATIENCE, || {
        Ok(db.query_one(names, &[])?.get::<_, String>(0).is_empty())
    })?;
    Ok(())
}

#[test]
fn archiving_that_was_stopped_is_a_gap_until_the_next_backup() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.on_master("backup")?;
    site.refused(
        "master.ini stop --minimal",
        "stop --minimal needs master_restart_cmd",
    )?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    site.on_slave("verify")?;
    site.on_master("stop")?;
    wait_until("archiving to be off", PATIENCE, || {
        let shown: String = db.query_one("show archive_command", &[])?.get(0);
        Ok(shown == "/bin/true")
    })?;
    db.batch_execute("insert into t values (1); select pg_switch_wal()")?;
    let check = site.program("slave.ini check").output()?;
    assert_eq!(check.status.code(), Some(3));
    assert!(
        check
            .stdout
            .contains("archiving: FAILED (was stopped (time=2"),
        "{}",
        check.stdout
    );
    let said = site.on_master("setup")?.stderr;
    assert!(
        said.contains("base backups from before do not reach beyond that"),
        "{said}"
    );
    wait_until("the setting to count", PATIENCE, || {
        let shown: String = db.query_one("show archive_command", &[])?.get(0);
        Ok(shown.contains("xarchive"))
    })?;
    // What was written in between is nowhere, and the set does not reach the present.
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    let verify = site.program("slave.ini verify").output()?;
    assert_eq!(verify.status.code(), Some(3), "{}", verify.stdout);
    assert!(verify.stdout.contains(" missing)"), "{}", verify.stdout);
    drop(db);
    site.on_master("backup")?;
    assert!(!site.archived("ARCHIVE_STOPPED").exists());
    // As little WAL as there can be, after a restart.
    let restart = format!(
        "{}/pg_ctl -D {} -w -m fast -l {} restart",
        site.master.bindir().display(),
        site.master.data_dir().display(),
        site.path("master.server.log").display()
    );
    site.write_master(&format!("master_restart_cmd = {restart}"))?;
    site.on_master("stop --minimal")?;
    let row = site.db()?.query_one(
        "select current_setting('wal_level'), current_setting('archive_mode'), current_setting('max_wal_senders')",
        &[],
    )?;
    let found: (String, String, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(
        found,
        ("minimal".to_owned(), "off".to_owned(), "0".to_owned())
    );
    // And back, by a restart of its own; standbys may stream again.
    site.on_master("setup")?;
    let senders: String = site.db()?.query_one("show max_wal_senders", &[])?.get(0);
    assert_eq!(senders, "10");
    site.on_master("backup")?;
    Ok(())
}
