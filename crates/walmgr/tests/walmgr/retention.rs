//! Which WAL and which sets stay.

use std::fs;

use testkit::TestResult;

use crate::Site;

#[test]
fn sets_and_wal_go_when_nobody_needs_them() -> TestResult {
    let mut site = Site::with(
        false,
        "keep_backups = 2\narchive_command = echo $BACKUPDIR >> gone",
    )?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let mut starts = Vec::new();
    for round in 0..4 {
        db.execute("insert into t values ($1)", &[&round])?;
        site.switch(&mut db)?;
        site.on_master("backup")?;
        let label = fs::read_to_string(site.shipped("data.master/backup_label"))?;
        let (_, name) = label.split_once("(file ").ok_or("a label")?;
        starts.push(name[..24].to_owned());
    }
    let names = site.names_in(&site.path("ship"))?;
    assert_eq!(
        names
            .iter()
            .filter(|name| name.contains("data.master"))
            .collect::<Vec<_>>(),
        ["data.master", "data.master.0"]
    );
    // Each time before one went.
    let gone = fs::read_to_string(site.path("gone"))?;
    assert_eq!(
        gone,
        format!("{}\n", site.shipped("data.master.1").display()).repeat(2)
    );
    // WAL from the start of the older set on, and not before.
    let wal: Vec<String> = site
        .names_in(&site.shipped("logs.complete"))?
        .into_iter()
        .filter(|name| name.len() == 24)
        .collect();
    assert_eq!(wal.first(), Some(&starts[2]), "{wal:?}");
    assert!(
        !site
            .archived(&format!(".walmgr/{}.sum", starts[0]))
            .exists()
    );
    // Histories stay for ever, and so does what is not known.
    for name in ["00000002.history", "own", "000000010000000000000001.own"] {
        fs::write(site.archived(name), "")?;
    }
    site.on_slave("xcleanup 000000000000000000000000")?;
    site.on_slave("xcleanup 0000000100000000000000FF")?;
    site.on_slave("xpurgewals")?;
    for name in ["00000002.history", "own", "000000010000000000000001.own"] {
        assert!(site.archived(name).exists(), "{name}");
    }
    for name in wal {
        assert!(site.archived(&name).exists(), "{name}");
    }
    // A set that does not tell what it needs keeps everything.
    fs::write(site.shipped("data.master.0/backup_label"), "")?;
    let output = site.program("slave.ini xpurgewals").output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("does not tell which WAL it needs"),
        "{}",
        output.stderr
    );
    Ok(())
}
