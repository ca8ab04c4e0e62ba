//! The first steps on a host, and the runbook.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use testkit::{Program, TestResult};

use crate::Site;

impl Site {
    /// The program of a user with a home directory of its own.
    fn at_home(&self, line: &str) -> TestResult<Program> {
        let home = self.path("home");
        if !home.exists() {
            fs::create_dir(&home)?;
            self.owner.give(&home)?;
        }
        Ok(self
            .program(line)
            .env("HOME", &home)
            .env("PGPASSFILE", home.join(".pgpass")))
    }
}

#[test]
fn the_runbook_names_commands_that_there_are() -> TestResult {
    let site = Site::new()?;
    let runbook = site.program("--help failover").succeed()?.stdout;
    assert!(runbook.contains("The master must stay gone"), "{runbook}");
    let mut count = 0;
    for line in runbook.lines() {
        // To be printed.
        assert!(line.len() <= 90, "{line}");
        let Some((_, words)) = line.split_once("$ walmgr ") else {
            continue;
        };
        let command = words.split(' ').nth(1).ok_or("a command")?;
        let help = site.program(&format!("x.ini {command} --help")).succeed()?;
        assert!(
            help.stdout.contains(&format!("walmgr INI {command}")),
            "{line}"
        );
        count += 1;
    }
    assert!(count >= 6, "{count}");
    Ok(())
}

#[test]
fn what_init_writes_works_as_it_is() -> TestResult {
    let mut site = Site::new()?;
    let data = site.master.data_dir().display().to_string();
    let home = site.path("home");
    let ship = site.path("home/walshipping").display().to_string();
    let line = format!("--init-master --pgdata {data}");
    let output = site.at_home(&line)?.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("say --slave HOST"),
        "{}",
        output.stderr
    );
    // A look changes nothing.
    let line = format!("{line} --slave {ship}");
    let shown = site.at_home(&format!("{line} -n"))?.succeed()?.stdout;
    assert!(
        shown.contains(&format!("master_data = {data}\n")),
        "{shown}"
    );
    assert!(site.names_in(&home)?.is_empty());
    site.at_home(&line)?.succeed()?;
    let ini = home.join("conf/wal-master.ini");
    assert!(shown.contains(&fs::read_to_string(&ini)?), "{shown}");
    let output = site.at_home(&line)?.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("is there already; --force"),
        "{}",
        output.stderr
    );
    let slave = site.path("slave").display().to_string();
    fs::create_dir(&slave)?;
    site.owner.give(slave.as_ref())?;
    let bin = site.master.bindir().display().to_string();
    site.at_home(&format!(
        "--init-slave --pgdata {slave} --set slave_bin={bin}"
    ))?
    .succeed()?;
    // Both work without a touch.
    let on_master = |line: &str| -> TestResult<String> {
        let line = format!("{} {line}", ini.display());
        Ok(site.at_home(&line)?.succeed()?.stderr)
    };
    on_master("setup")?;
    assert!(site.path("home/walshipping/logs.complete").is_dir());
    site.master.restart(testkit::Shutdown::Fast)?;
    let said = site
        .at_home(&format!("{} backup", ini.display()))?
        .succeed()?
        .stderr;
    assert!(said.contains("Full backup successful"), "{said}");
    // As a command, with a name of its own.
    let own = site.path("own.ini");
    let line = format!(
        "{} init_slave --pgdata {slave} --set keep_backups=7",
        own.display()
    );
    site.at_home(&line)?.succeed()?;
    assert!(fs::read_to_string(&own)?.contains("\nkeep_backups = 7\n"));
    let line = format!(
        "--init-slave --pgdata {} --force",
        site.path("none").display()
    );
    let output = site.at_home(&line)?.output()?;
    assert!(
        output.stderr.contains("is no directory: say --pgdata"),
        "{}",
        output.stderr
    );
    Ok(())
}

#[test]
fn keys_and_passwords_are_added_once() -> TestResult {
    let site = Site::new()?;
    let data = site.master.data_dir().display().to_string();
    let home = site.path("home");
    let line = format!("--init-master --pgdata {data} --slave db2 --ssh-keygen --force");
    let key = site.at_home(&line)?.succeed()?.stdout;
    let public = fs::read_to_string(home.join(".ssh/id_ed25519.pub"))?;
    assert!(key.ends_with(&public), "{key}");
    assert_eq!(site.at_home(&line)?.succeed()?.stdout, key);
    let mode = fs::metadata(home.join(".ssh"))?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    fs::write(home.join("key.pub"), &public)?;
    fs::write(home.join("secret"), "pass:word\n")?;
    let line = format!(
        "--init-slave --pgdata {data} --force --ssh-add-key {0}/key.pub --add-password {0}/secret",
        home.display()
    );
    for _ in 0..2 {
        site.at_home(&line)?
            .args(["--primary-conninfo", "host=db1 user=rep"])
            .succeed()?;
    }
    assert_eq!(
        fs::read_to_string(home.join(".ssh/authorized_keys"))?,
        public
    );
    let pgpass = home.join(".pgpass");
    assert_eq!(
        fs::read_to_string(&pgpass)?,
        "db1:5432:replication:rep:pass\\:word\n"
    );
    assert_eq!(fs::metadata(&pgpass)?.permissions().mode() & 0o777, 0o600);
    let ini = fs::read_to_string(home.join("conf/wal-slave.ini"))?;
    assert!(
        ini.contains("\nprimary_conninfo = host=db1 user=rep\n"),
        "{ini}"
    );
    fs::write(home.join("key.pub"), "no key\n")?;
    let output = site.at_home(&line)?.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("holds no public key"),
        "{}",
        output.stderr
    );
    Ok(())
}
