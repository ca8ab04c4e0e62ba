//! Where things are: configuration outside of the data directory, WAL elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

#[test]
fn configuration_outside_of_the_data_directory_is_restored_where_it_is_missing() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let (master_etc, etc) = (site.path("etc.master"), site.path("etc.slave"));
    fs::create_dir_all(master_etc.join("conf.d"))?;
    fs::create_dir(&etc)?;
    site.owner.give(&etc)?;
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::copy(site.master.data_dir().join(name), master_etc.join(name))?;
        site.owner.give(&master_etc.join(name))?;
    }
    let conf = fs::read_to_string(master_etc.join("postgresql.conf"))?;
    let own = format!(
        "{conf}data_directory = '{}'\nexternal_pid_file = '/no/such/directory/pid'\n\
         include_dir = 'conf.d'\ninclude_dir = 'empty.d'\n",
        site.master.data_dir().display()
    );
    fs::write(master_etc.join("postgresql.conf"), own)?;
    fs::write(master_etc.join("conf.d/own.conf"), "work_mem = '5MB'\n")?;
    fs::write(master_etc.join("not.ours"), "")?;
    let line = format!(
        "master.ini backup --set master_config={}",
        master_etc.join("postgresql.conf").display()
    );
    site.program(&line).succeed()?;
    let copied = site.shipped("config.backup");
    assert_eq!(
        site.names_in(&copied)?,
        ["conf.d", "pg_hba.conf", "pg_ident.conf", "postgresql.conf"]
    );

    site.write_slave(&format!("slave_config_dir = {}", etc.display()))?;
    let options = format!(
        "-o \"-c config_file={} -c data_directory={} -c external_pid_file={} ",
        etc.join("postgresql.conf").display(),
        site.path("slave").display(),
        site.path("pid").display(),
    );
    let command = site.start_command()?.replace("-o \"", &options);
    let restore = |set: &str| {
        site.program("slave.ini restore --set")
            .args([format!("slave_start_cmd={command}"), set.to_owned()])
            .succeed()
    };
    let said = restore("data.master")?.stderr;
    for what in [
        "copied from the master's: check what it says of directories and of the port",
        "slave_data is another directory",
        "external_pid_file = '/no/such/directory/pid': there is no such directory here",
    ] {
        assert!(said.contains(what), "no '{what}' in {said}");
    }
    let mut standby = site.standby()?;
    let shown: String = standby.query_one("show config_file", &[])?.get(0);
    assert_eq!(shown, etc.join("postgresql.conf").display().to_string());
    let work_mem: String = standby.query_one("show work_mem", &[])?.get(0);
    assert_eq!(work_mem, "5MB");
    let restore_command: String = standby.query_one("show restore_command", &[])?.get(0);
    assert!(restore_command.contains("xrestore"), "{restore_command}");
    drop(standby);
    // What is there is this server's own, and stays.
    fs::write(etc.join("pg_ident.conf"), "# own\n")?;
    restore("data.master")?;
    drop(site.standby()?);
    assert_eq!(fs::read_to_string(etc.join("pg_ident.conf"))?, "# own\n");
    Ok(())
}

#[test]
fn wal_of_the_master_that_is_elsewhere_is_left_alone() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.master.stop(Shutdown::Fast)?;
    let (wal, elsewhere) = (site.master.data_dir().join("pg_wal"), site.path("wal"));
    let moved = std::process::Command::new("mv")
        .arg(&wal)
        .arg(&elsewhere)
        .status()?;
    assert!(moved.success());
    symlink(&elsewhere, &wal)?;
    site.master.start_again()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    wait_until("the standby to have all rows", PATIENCE, || {
        let row = standby.query_one("select count(*) from t", &[])?;
        Ok(row.get::<_, i64>(0) == 100)
    })?;
    drop(standby);
    site.on_slave("boot")?;
    let own = fs::symlink_metadata(site.path("slave/pg_wal"))?;
    assert!(own.is_dir());
    assert!(!elsewhere.join("00000002.history").exists());
    // The master works on in its own.
    db.batch_execute("insert into t values (101)")?;
    site.switch(&mut db)?;
    Ok(())
}
