//! Where things are: configuration outside of the data directory, WAL elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use testkit::{Program, Shutdown, TestResult};

use crate::Site;

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
    let restore = |words: &str| {
        site.program("slave.ini restore --set")
            .args([format!("slave_start_cmd={command}")])
            .args(words.split(' '))
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
    restore("data.master --overwrite-config")?;
    drop(site.standby()?);
    assert_ne!(fs::read_to_string(etc.join("pg_ident.conf"))?, "# own\n");
    let old = etc.join("pg_ident.conf.old");
    assert_eq!(fs::read_to_string(old)?, "# own\n");
    Ok(())
}

impl Site {
    /// Moves a directory of the master's elsewhere, and leaves a link to it.
    pub(crate) fn move_and_link(&self, name: &str, to: &Path) -> TestResult {
        let from = self.master.data_dir().join(name);
        fs::create_dir_all(&from)?;
        self.owner.give(&from)?;
        let moved = Command::new("mv").arg(&from).arg(to).status()?;
        assert!(moved.success());
        Ok(symlink(to, &from)?)
    }
}

#[test]
fn links_of_the_master_are_made_anew_where_they_lead_to_nobody() -> TestResult {
    let mut site = Site::with(true, "keep_backups = 2")?;
    site.set_up()?;
    site.master.stop(Shutdown::Fast)?;
    let disk = site.path("disk");
    fs::create_dir(&disk)?;
    site.owner.give(&disk)?;
    for name in ["pg_wal", "log"] {
        site.move_and_link(name, &disk.join(name))?;
    }
    site.master.start_again()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    // On another host there is nothing of that name; so it is here, once the master is gone.
    site.master.stop(Shutdown::Kill)?;
    fs::rename(&disk, site.path("gone"))?;
    fs::create_dir(&disk)?;
    site.owner.give(&disk)?;
    for is_first in [true, false] {
        let said = site.on_slave("restore data.master")?.stderr;
        let mut standby = site.standby()?;
        site.wait_for_rows(&mut standby, 100)?;
        // The one that was moved aside still has its WAL there.
        let wal = site.path("slave/pg_wal");
        assert_eq!(wal.is_symlink(), is_first, "{said}");
        assert!(site.path("slave/log").is_symlink(), "{said}");
        assert_eq!(said.contains("is not empty"), !is_first, "{said}");
    }
    Ok(())
}

#[test]
fn wal_of_the_master_that_is_elsewhere_is_left_alone() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.master.stop(Shutdown::Fast)?;
    let elsewhere = site.path("wal");
    site.move_and_link("pg_wal", &elsewhere)?;
    site.master.start_again()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 100)?;
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

/// A directory on the way to everything.
const ODD: &str = "o'd d%$é";

/// Runs a line there: the name of a file in two words, and what to do.
fn run(site: &Site, line: &str) -> TestResult {
    let home = site.path(ODD);
    let (file, words) = line.split_once(".ini ").ok_or("a file")?;
    Program::at(&home.join("wal mgr"), &home)
        .owned_by(site.owner)
        .env("PGUSER", "postgres")
        .args([home.join(format!("{file}.ini"))])
        .args(words.split(' '))
        .succeed()
        .map_err(|error| format!("{line}: {error}\n{}", site.logs()))?;
    Ok(())
}

#[test]
fn odd_names_of_files_and_directories_do_no_harm() -> TestResult {
    let mut site = Site::behind_ssh()?;
    let in_ini = |text: &str| text.replace('%', "%%");
    let path = |name: &str| site.path(name).display().to_string();
    let home = site.path(ODD);
    fs::create_dir(&home)?;
    site.owner.give(&home)?;
    fs::copy(site.path("walmgr"), home.join("wal mgr"))?;
    // In the shell, between single quotes.
    let data = path(&format!("{ODD}/slave"));
    let quoted = format!("'{}'", data.replace('\'', r"'\''"));
    for (file, name) in [("master.ini", "m x.ini"), ("slave.ini", "s x.ini")] {
        let text = fs::read_to_string(site.path(file))?
            .replace(
                &format!("-D {}", path("slave")),
                &format!("-D {}", in_ini(&quoted)),
            )
            .replace(
                &format!("slave_data = {}", path("slave")),
                &format!("slave_data = {}", in_ini(&data)),
            )
            .replace(&path("ship"), &in_ini(&path(&format!("{ODD}/sh ip"))))
            .replace(
                &path("slave.ini"),
                &in_ini(&path(&format!("{ODD}/s x.ini"))),
            );
        fs::write(home.join(name), text)?;
    }
    run(&site, "m x.ini setup")?;
    site.master.restart(Shutdown::Fast)?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    run(&site, "m x.ini backup")?;
    db.batch_execute("insert into t values (101)")?;
    run(&site, "m x.ini sync --set use_xlog_functions=1")?;
    run(&site, "s x.ini restore")?;
    let mut standby = site.standby()?;
    run(&site, "s x.ini boot")?;
    let count: i64 = standby.query_one("select count(*) from t", &[])?.get(0);
    assert_eq!(count, 101, "{}", site.logs());
    let mut stop = site.master.command("pg_ctl");
    stop.arg("-D")
        .arg(&data)
        .args(["-m", "immediate", "-w", "stop"]);
    assert!(stop.stdout(std::process::Stdio::null()).status()?.success());
    Ok(())
}
