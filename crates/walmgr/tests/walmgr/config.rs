//! Roles, both dialects, and what `setup` does.

use std::fs;

use testkit::TestResult;

use crate::Site;

/// Every command that one of the sides does not have.
const OF_THE_MASTER: [&str; 5] = [
    "stop",
    "stop --minimal",
    "periodic",
    "synch-standby a",
    "xarchive pg_wal/x 00000002.history",
];
const OF_THE_SLAVE: [&str; 18] = [
    "boot",
    "switchover",
    "verify",
    "expire",
    "xset",
    "xrstpt",
    "xserve",
    "xwals",
    "createslave",
    "xstopped",
    "pause",
    "continue",
    "xlock 1",
    "xrelease",
    "xrotate",
    "xpurgewals",
    "xcleanup 000000010000000000000001",
    "xreceive 00000002.history 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

#[test]
fn a_command_of_the_other_side_does_nothing() -> TestResult {
    let site = Site::new()?;
    for command in OF_THE_MASTER {
        site.refused(
            &format!("slave.ini {command}"),
            "is not available on this node",
        )?;
    }
    for command in OF_THE_SLAVE {
        site.refused(
            &format!("master.ini {command}"),
            "is not available on this node",
        )?;
    }
    assert!(!site.path("ship").exists());
    Ok(())
}

#[test]
fn without_a_configuration_nothing_is_well() -> TestResult {
    let site = Site::new()?;
    fs::write(site.path("bad.ini"), "[wal-slave]\nslave_data = data\n")?;
    fs::write(site.path("odd.ini"), "slave_data = /x\n[wal-slave\n")?;
    let of_both = [
        "setup",
        "backup",
        "backup --finish",
        "listbackups",
        "restore",
        "restore data.master /x",
        "rejoin",
        "sync",
        "syncdaemon",
        "check",
        "status",
        "cleanup --yes",
        "xrestore 00000002.history /x",
    ];
    let all = OF_THE_MASTER.iter().chain(&OF_THE_SLAVE).chain(&of_both);
    for command in all {
        for ini in ["none.ini", "bad.ini", "odd.ini"] {
            let output = site.program(&format!("{ini} {command}")).output()?;
            // What recovers must not take it for the end of the WAL.
            let code = if command.starts_with("xrestore") {
                200
            } else {
                1
            };
            assert_eq!(
                output.status.code(),
                Some(code),
                "{ini} {command}: {}",
                output.stderr
            );
            assert!(!output.stderr.is_empty(), "{ini} {command}");
        }
    }
    assert!(!site.path("ship").exists());
    Ok(())
}

#[test]
fn the_role_comes_from_the_section_or_from_the_keys() -> TestResult {
    let site = Site::new()?;
    let base = site.path("ship");
    let slave = format!(
        "walmgr_data = {}\nslave_data = {}\ncompleted_wals = %(walmgr_data)s/c\n\
         partial_wals = %(walmgr_data)s/p\nfull_backup = %(walmgr_data)s/f\n",
        base.display(),
        site.path("slave").display()
    );
    let master = "master_data = /m\nslave_config = /s.ini\n";
    for (name, text, line, why) in [
        ("three", format!("[walmgr]\n{slave}"), "listbackups", None),
        (
            "none",
            "[walmgr]\nslave = x\n".to_owned(),
            "listbackups",
            Some("no role: neither master_data nor slave_data is set"),
        ),
        (
            "both",
            format!("[walmgr]\n{slave}{master}"),
            "listbackups",
            Some("ambiguous role"),
        ),
        (
            "said",
            format!("[walmgr]\nrole = slave\n{slave}{master}"),
            "listbackups",
            None,
        ),
        (
            "wrong",
            "[londiste]\n".to_owned(),
            "listbackups",
            Some("Wrong config file, no section 'wal-master'"),
        ),
        (
            "missing",
            "[wal-master]\nmaster_data = /m\n".to_owned(),
            "setup",
            Some("Config value not set: slave"),
        ),
        (
            "relative",
            "[wal-slave]\nslave = ship\nfull_backup = /x/f\n".to_owned(),
            "setup",
            Some("slave: 'ship' is not an absolute path"),
        ),
        (
            "elsewhere",
            "[wal-master]\nmaster_data = /m\nslave_config = /s\nslave = db2:/x\n\
             completed_wals = db3:/x/c\n"
                .to_owned(),
            "setup",
            Some("completed_wals: 'db3:/x/c' is on another host than slave = db2:/x"),
        ),
        (
            "transport",
            "[wal-master]\nmaster_data = /m\ntransport = rsync\n".to_owned(),
            "setup",
            Some("transport: WAL does not go by rsync"),
        ),
    ] {
        fs::write(site.path(&format!("{name}.ini")), text)?;
        match why {
            Some(why) => site.refused(&format!("{name}.ini {line}"), why)?,
            None => {
                site.program(&format!("{name}.ini setup")).succeed()?;
                let output = site.program(&format!("{name}.ini {line}")).succeed()?;
                assert_eq!(output.stdout, "\nNo backups found.\n\n");
            }
        }
    }
    Ok(())
}

#[test]
fn the_sample_is_one_for_both_sides() -> TestResult {
    let site = Site::new()?;
    let sample = site.program("--ini").succeed()?.stdout;
    assert!(sample.contains("\n[wal-master]\n") && sample.contains("\n[wal-slave]\n"));
    let (_, slave) = sample.split_once("; On the slave.").ok_or("two parts")?;
    for (name, text, line) in [("m", sample.as_str(), "periodic"), ("s", slave, "setup -n")] {
        for (name, text) in [
            (format!("{name}.ini"), text.to_owned()),
            (format!("{name}-all.ini"), uncommented(text)),
        ] {
            fs::write(site.path(&name), text)?;
            let line = format!("--set logfile= --set pidfile= {name} {line}");
            let output = site.program(&line).succeed()?;
            assert!(!output.stderr.contains("unknown key"), "{}", output.stderr);
        }
    }
    Ok(())
}

fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.contains(" = ") => setting,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn setup_changes_what_it_must_and_the_second_time_nothing() -> TestResult {
    let mut site = Site::new()?;
    let conf = site.master.data_dir().join("postgresql.conf");
    let before = fs::read_to_string(&conf)?;
    let output = site.on_master("setup -n --set logfile=own.log")?;
    assert!(
        output.stderr.contains("logfile is a relative path"),
        "{}",
        output.stderr
    );
    let shown = output.stdout;
    assert!(shown.contains("+archive_mode = 'on'\n"), "{shown}");
    assert!(shown.contains("would create"), "{shown}");
    assert_eq!(fs::read_to_string(&conf)?, before);
    assert!(!site.path("ship").exists());

    let output = site.on_master("setup")?;
    assert!(
        output
            .stderr
            .contains("active after a restart of the master: archive_mode"),
        "{}",
        output.stderr
    );
    let after = fs::read_to_string(&conf)?;
    let command = format!(
        "archive_command = '{} {} xarchive %p %f'\n",
        site.path("walmgr").display(),
        site.path("master.ini").display()
    );
    assert!(after.contains(&command), "{after}");
    site.master.restart(testkit::Shutdown::Fast)?;
    let output = site.on_master("setup")?;
    assert!(
        output.stderr.contains("the settings are active"),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read_to_string(&conf)?, after);

    // Another file has the last word: nothing is changed, and it is named.
    site.master
        .append_conf("include_if_exists = 'more.conf'\n")?;
    let more = site.master.data_dir().join("more.conf");
    fs::write(&more, "archive_command = 'cp'\n")?;
    site.on_master("setup").err().ok_or("it is overridden")?;
    fs::remove_file(&more)?;
    let mut db = site.db()?;
    db.batch_execute("alter system set archive_command = 'cp'")?;
    site.refused(
        "master.ini setup",
        "ALTER SYSTEM RESET archive_command removes it",
    )?;
    db.batch_execute("alter system reset archive_command")?;
    drop(db);

    site.on_master("stop")?;
    let text = fs::read_to_string(&conf)?;
    assert!(text.contains("archive_command = '/bin/true'\n"), "{text}");
    assert!(text.contains("archive_mode = 'on'\n"), "{text}");
    Ok(())
}

#[test]
fn settings_may_be_in_a_file_of_their_own() -> TestResult {
    let mut site = Site::new()?;
    site.write_master("config_method = include")?;
    let (conf, own) = (
        site.master.data_dir().join("postgresql.conf"),
        site.master.data_dir().join("walmgr.conf"),
    );
    let before = fs::read_to_string(&conf)?;
    let shown = site.on_master("setup -n")?.stdout;
    assert!(shown.contains("+archive_mode = 'on'\n"), "{shown}");
    assert!(
        shown.contains("+include_if_exists = 'walmgr.conf'\n"),
        "{shown}"
    );
    assert!(!own.exists() && fs::read_to_string(&conf)? == before);
    site.set_up()?;
    let after = fs::read_to_string(&conf)?;
    let including = format!("{before}include_if_exists = 'walmgr.conf'\n");
    assert_eq!(after, including);
    site.on_master("setup")?;
    assert_eq!(fs::read_to_string(&conf)?, after);
    site.on_master("backup")?;
    // Another one has the last word, and nothing is changed.
    let ours = fs::read_to_string(&own)?;
    site.master.append_conf("archive_command = 'cp'\n")?;
    site.refused("master.ini setup", "archive_command is set in ")?;
    assert_eq!(fs::read_to_string(&own)?, ours);
    fs::write(&conf, after)?;
    site.on_master("stop")?;
    let text = fs::read_to_string(&own)?;
    assert!(text.contains("archive_command = '/bin/true'\n"), "{text}");
    // It goes with all else, but not while the server would keep all WAL without it.
    let shown = site.on_master("cleanup -n")?;
    assert!(
        shown.stderr.contains("while archive_mode is on") && !shown.stdout.contains("walmgr.conf"),
        "{}{}",
        shown.stdout,
        shown.stderr
    );
    fs::write(&own, format!("{text}archive_mode = 'off'\n"))?;
    site.master.restart(testkit::Shutdown::Fast)?;
    site.on_master("cleanup --yes")?;
    assert!(!own.exists());
    assert_eq!(fs::read_to_string(&conf)?, before);
    site.master.restart(testkit::Shutdown::Fast)
}

#[test]
fn the_periodic_command_runs_when_it_is_due() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let count = site.path("count");
    let due = format!(
        "periodic_command = echo x >> {}\ncommand_interval = 3600",
        count.display()
    );
    site.write_master(&due)?;
    let (path, name) = site.finished_segment()?;
    let push = format!("master.ini xarchive {} {name}", path.display());
    for _ in 0..2 {
        site.program(&push).succeed()?;
    }
    site.on_master("periodic")?;
    assert_eq!(fs::read_to_string(&count)?, "x\n");
    // From the future is as good as never; and a failure is none of archiving.
    let marker = site.master.data_dir().join(".walshipping.periodic");
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    fs::File::options()
        .write(true)
        .open(&marker)?
        .set_modified(tomorrow)?;
    site.on_master("periodic")?;
    assert_eq!(fs::read_to_string(&count)?, "x\nx\n");
    site.write_master("periodic_command = false")?;
    let output = site.program(&push).succeed()?;
    assert!(
        output.stderr.contains("periodic_command (false): "),
        "{}",
        output.stderr
    );
    site.refused("master.ini periodic", "periodic_command (false): ")
}
