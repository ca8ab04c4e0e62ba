//! `cleanup`: what is ours goes, and nothing else.

use std::fs;

use testkit::TestResult;

use crate::Site;

/// Has everything in the archive come two days ago.
fn make_old(site: &Site) -> TestResult {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    for name in site.names_in(&site.shipped("logs.complete"))? {
        if name.len() == 24 {
            fs::File::options()
                .write(true)
                .open(site.archived(&name))?
                .set_modified(then)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_ours_goes_and_nothing_else() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    site.on_master("backup")?;
    site.on_master("backup")?;
    site.refused(
        "master.ini cleanup --yes",
        "the server archives by this configuration",
    )?;
    site.refused("slave.ini cleanup --yes", "WAL came")?;
    site.on_master("stop")?;
    make_old(&site)?;
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    make_old(&site)?;
    site.refused("slave.ini cleanup --yes", "reads this archive: stop it")?;
    site.on_slave("boot")?;
    site.on_slave("xlock 1")?;
    site.refused(
        "slave.ini cleanup --yes",
        "the backup lock is held by pid 1",
    )?;
    site.on_slave("xrelease")?;
    // Nothing without an answer, or after another one than yes.
    fs::create_dir(site.path("slave.7"))?;
    fs::write(site.shipped("own"), "")?;
    let before = (
        site.names_in(&site.path("ship"))?,
        site.names_in(&site.path(""))?,
    );
    site.refused("slave.ini cleanup", "nothing is removed")?;
    fs::write(site.path("answer"), "y\n")?;
    let output = site
        .program("slave.ini cleanup")
        .input(&site.path("answer"))?
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let ship = site.path("ship").display().to_string();
    for name in ["logs.complete", "data.master", "data.master.0"] {
        assert!(
            output.stderr.contains(&format!("{ship}/{name}\n")),
            "{}",
            output.stderr
        );
    }
    fs::remove_file(site.path("answer"))?;
    site.on_slave("cleanup -n")?;
    let after = (
        site.names_in(&site.path("ship"))?,
        site.names_in(&site.path(""))?,
    );
    assert_eq!(after, before);

    let home = site.path("home");
    fs::create_dir_all(home.join(".ssh"))?;
    fs::write(
        home.join(".ssh/authorized_keys"),
        "ssh-ed25519 AAAA1 wal@db1\nssh-ed25519 AAAA2 other\n",
    )?;
    fs::write(
        home.join(".pgpass"),
        "db1:5432:replication:rep:x\ndb1:5432:*:rep:y\n",
    )?;
    for path in [
        home.clone(),
        home.join(".ssh"),
        home.join(".ssh/authorized_keys"),
        home.join(".pgpass"),
    ] {
        site.owner.give(&path)?;
    }
    fs::write(site.path("answer"), "yes\n")?;
    site.program("slave.ini cleanup --ssh-remove-key wal@db1 --remove-password")
        .args(["--primary-conninfo", "host=db1 user=rep"])
        .env("HOME", &home)
        .env("PGPASSFILE", home.join(".pgpass"))
        .input(&site.path("answer"))?
        .succeed()?;
    assert_eq!(
        fs::read_to_string(home.join(".ssh/authorized_keys"))?,
        "ssh-ed25519 AAAA2 other\n"
    );
    assert_eq!(
        fs::read_to_string(home.join(".pgpass"))?,
        "db1:5432:*:rep:y\n"
    );
    // Somebody's own file, a directory that is no data directory, and the server that runs.
    assert_eq!(site.names_in(&site.path("ship"))?, ["own"]);
    assert!(site.path("slave.7").exists() && !site.path("slave.0").exists());
    assert!(site.path("slave/postmaster.pid").exists());
    assert!(!site.path("slave.ini").exists());
    site.on_master("cleanup --yes")?;
    assert!(!site.path("master.ini").exists());
    assert!(!site.master.data_dir().join(".walshipping.last").exists());
    Ok(())
}
