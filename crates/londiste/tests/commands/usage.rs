//! The command line and the configuration: what is said about mistakes, and exit codes.

use std::time::Duration;

use testkit::{Program, Shutdown, TestResult};

use crate::support::{Pair, value};

fn in_empty_directory(arguments: &[&str]) -> TestResult<(Option<i32>, String, String)> {
    let dir = tempfile::tempdir()?;
    let output = Program::new("londiste", dir.path())
        .args(arguments)
        .output()?;
    Ok((output.status.code(), output.stdout, output.stderr))
}

#[test]
fn without_a_config_file_it_says_so() -> TestResult {
    let (code, _, stderr) = in_empty_directory(&[])?;
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("need config file"), "{stderr}");
    let (code, _, stderr) = in_empty_directory(&["no.ini", "replay"])?;
    assert_eq!(code, Some(1));
    assert_eq!(stderr, "Config file not found: no.ini\n");
    Ok(())
}

#[test]
fn the_sample_configuration_is_a_configuration() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (code, sample, _) = in_empty_directory(&["--ini"])?;
    assert_eq!(code, Some(0));
    let ini = dir.path().join("sample.ini");
    std::fs::write(&ini, sample)?;
    // No command: everything before that was fine, without a word about unknown keys.
    let output = Program::new("londiste", dir.path())
        .args([&ini])
        .args(["--set", "logfile="])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output
            .stderr
            .ends_with(" ERROR need command, use --help for help\n"),
        "{output:?}"
    );
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    Ok(())
}

#[test]
fn help_names_every_command() -> TestResult {
    let (code, help, _) = in_empty_directory(&["--help"])?;
    assert_eq!(code, Some(0));
    for command in [
        "provider",
        "subscriber",
        "replay",
        "copy",
        "status",
        "compare",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    let (_, help, _) = in_empty_directory(&["subscriber", "--help"])?;
    assert!(help.contains("config"), "{help}");
    let (_, help, _) = in_empty_directory(&["x.ini", "subscriber", "--help"])?;
    for command in [
        "install",
        "add",
        "remove",
        "tables",
        "resync",
        "missing",
        "register",
        "unregister",
        "add-seq",
        "remove-seq",
        "seqs",
        "check",
        "fkeys",
        "triggers",
        "restore-triggers",
        "wait-sync",
        "status",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    let (_, help, _) = in_empty_directory(&["x.ini", "provider", "--help"])?;
    for command in ["install", "add", "remove", "refresh", "check", "tables"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    Ok(())
}

#[test]
fn missing_and_unknown_commands_exit_with_1() -> TestResult {
    let pair = Pair::empty()?;
    for (arguments, message) in [
        (
            "nonsense",
            "Unknown command 'nonsense', use --help for help\n",
        ),
        ("provider", "ERROR need subcommand, use --help for help\n"),
        ("subscriber", "ERROR need subcommand, use --help for help\n"),
        (
            "provider nonsense",
            "ERROR bad subcommand: nonsense, use --help for help\n",
        ),
        (
            "subscriber nonsense",
            "ERROR bad subcommand: nonsense, use --help for help\n",
        ),
        (
            "provider add",
            "ERROR no names given; name some, or use --all\n",
        ),
        (
            "subscriber add t --expect-sync --skip-truncate",
            "ERROR Too many options: --expect-sync and --skip-truncate\n",
        ),
        (
            "subscriber resync t --skip-truncate",
            "ERROR --skip-truncate belongs to \"subscriber add\": this command would pass over it\n",
        ),
        (
            "provider add t --expect-sync",
            "ERROR --expect-sync belongs to \"subscriber add\": this command would pass over it\n",
        ),
        (
            "subscriber add t --capture row",
            "ERROR --capture belongs to \"provider add\": this command would pass over it\n",
        ),
        (
            "provider install --set pgq_queue_name=",
            "ERROR Config value not set: pgq_queue_name\n",
        ),
        (
            "subscriber resync t --reset",
            "ERROR --reset is a command of its own: give it without another one\n",
        ),
    ] {
        let run = pair.run(arguments)?;
        assert_eq!(
            (run.code, run.log.as_str()),
            (Some(1), message),
            "{arguments}"
        );
        assert_eq!(run.stdout, "");
    }
    let run = pair.run("provider tables --no-such-option")?;
    assert_eq!(run.code, Some(2));
    Ok(())
}

#[test]
fn commands_of_other_versions_are_answered_with_those_of_this_one() -> TestResult {
    let pair = Pair::empty()?;
    let moving = "; docs/moving.md tells how to take over from Londiste 3";
    for (line, instead) in [
        (
            "add-table t",
            format!(
                "use \"londiste INI provider add\" or \"londiste INI subscriber add\" instead{moving}"
            ),
        ),
        (
            "create-leaf leaf dbname=leaf",
            format!("use \"londiste INI subscriber install\" instead{moving}"),
        ),
        (
            "worker -d",
            format!("use \"londiste INI replay -d\" instead{moving}"),
        ),
        (
            "members",
            format!("use \"londiste INI node status\" instead{moving}"),
        ),
        (
            "rename-node a b",
            format!("for which there is nothing here{moving}"),
        ),
        (
            "tables",
            "use \"londiste INI provider tables\" or \"londiste INI subscriber tables\" instead"
                .to_owned(),
        ),
        (
            "wait-sync",
            "use \"londiste INI subscriber wait-sync\" instead".to_owned(),
        ),
        (
            "execute x.sql",
            "use \"londiste INI provider execute\" instead".to_owned(),
        ),
        (
            "resync t",
            "use \"londiste INI subscriber resync\" instead".to_owned(),
        ),
    ] {
        let run = pair.run(line)?;
        let name = line.split(' ').next().unwrap();
        assert_eq!(
            (run.code, run.log),
            (Some(1), format!("Unknown command '{name}', {instead}\n")),
            "{line}"
        );
    }
    Ok(())
}

#[test]
fn mistakes_in_the_configuration_name_the_key() -> TestResult {
    let pair = Pair::empty()?;
    for (line, message) in [
        (
            "method = file_write",
            "ERROR method = file_write is not supported; use method = direct",
        ),
        ("method = carrier_pigeon", "ERROR unknown method, quitting"),
        (
            "mirror_queue = q",
            "ERROR mirror_queue = q: a relay has the queue of its provider under the same name; set \
             mirror_queue = replic, or remove the key",
        ),
        (
            "parallel_copies = 0",
            "ERROR parallel_copies is 0; it must be at least 1",
        ),
    ] {
        pair.configure(line)?;
        let run = pair.run("provider tables")?;
        assert_eq!((run.code, run.log.trim_end()), (Some(1), message));
    }
    for line in [
        "lock_timeout = soon",
        "parallel_copies = -1",
        "apply_role = none",
    ] {
        pair.configure(line)?;
        let run = pair.run("provider tables")?;
        assert_eq!(run.code, Some(1), "{line}");
        let key = line.split(' ').next().unwrap();
        assert!(run.log.contains(key), "{line}: {}", run.log);
    }
    pair.configure("lokc_timeout = 5")?;
    let run = pair.run("provider tables")?;
    assert!(
        run.log.starts_with(
            "WARNING unknown key 'lokc_timeout' in section [londiste], nearest is 'lock_timeout'\n"
        ),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn a_database_without_the_schema_gets_a_hint() -> TestResult {
    let pair = Pair::empty()?;
    let run = pair.run("provider tables")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR schema pgq is missing in provider_db; run: londiste INI provider install\n"
    );
    let run = pair.run("subscriber tables")?;
    assert_eq!(
        run.log,
        "ERROR schema londiste is missing in subscriber_db; run: londiste INI subscriber install\n"
    );
    for command in [
        "replay --once",
        "copy --once",
        "compare",
        "--rewind",
        "--reset",
    ] {
        let run = pair.run(command)?;
        assert_eq!(run.code, Some(1), "{command}");
        assert!(
            run.log
                .ends_with("is missing in subscriber_db; run: londiste INI subscriber install\n"),
            "{command}: {}",
            run.log
        );
    }
    Ok(())
}

#[test]
fn a_queue_that_does_not_exist_is_named() -> TestResult {
    let pair = Pair::installed()?;
    for command in ["provider add t", "subscriber register", "replay --once"] {
        let run = pair.run(&format!("{command} --set pgq_queue_name=nowhere"))?;
        assert_eq!(run.code, Some(1));
        assert!(
            run.log.ends_with(
                "Event queue does not exist yet: nowhere; run: londiste INI provider install\n"
            ),
            "{}",
            run.log
        );
    }
    Ok(())
}

#[test]
fn names_that_do_not_exist_are_told_by_every_command_that_takes_names() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key); create sequence s")?;
    pair.provider.batch_execute("select pgq.ticker('replic')")?;
    pair.ok("provider add t")?;
    pair.ok("provider add-seq s")?;
    pair.ok("subscriber add t --expect-sync")?;
    pair.ok("subscriber register")?;
    for command in [
        "provider add nosuch",
        "provider remove nosuch",
        "provider refresh nosuch",
        "provider add-seq nosuch",
        "provider remove-seq nosuch",
        "subscriber add nosuch",
        "subscriber add nosuch --create",
        "subscriber remove nosuch",
        "subscriber resync nosuch",
        "subscriber resync nosuch*",
        "subscriber restore-triggers nosuch",
        "subscriber restore-triggers t nosuch",
        "subscriber wait-sync nosuch --timeout 1",
        "subscriber add-seq nosuch",
        "subscriber remove-seq nosuch",
        "compare nosuch",
        "compare nosuch*",
        "repair nosuch",
        "copy nosuch",
        "copy nosuch --set parallel_copies=2",
    ] {
        let run = pair.run(command)?;
        assert_eq!(run.code, Some(1), "{command}: {}", run.log);
        assert!(run.log.contains("nosuch"), "{command}: {}", run.log);
    }
    let run = pair.run("copy nosuch")?;
    assert!(
        run.log.contains(
            "Table public.nosuch is not subscribed; run: londiste INI subscriber add public.nosuch\n"
        ),
        "{}",
        run.log
    );
    for command in [
        "provider add nosuch*",
        "provider remove nosuch*",
        "provider refresh nosuch*",
        "subscriber add nosuch*",
        "subscriber remove nosuch*",
    ] {
        let run = pair.ok(command)?;
        assert_eq!(
            run.log, "INFO No tables found that match public.nosuch*\n",
            "{command}"
        );
    }
    assert_eq!(pair.ok("provider tables")?.stdout, "public.t\n");
    Ok(())
}

#[test]
fn a_copy_started_by_hand_says_why_there_is_nothing_to_copy() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table new (id int primary key); create table synced (id int primary key)")?;
    pair.ok("provider add new synced")?;
    pair.ok("subscriber add new")?;
    pair.ok("subscriber add synced --expect-sync")?;
    for (line, message) in [
        ("copy", "INFO no table to copy\n"),
        (
            "copy new",
            "INFO no table to copy: replay will begin with public.new\n",
        ),
        (
            "copy synced",
            "INFO no table to copy: public.synced is in sync; to have it copied again, run: londiste INI \
             subscriber resync public.synced\n",
        ),
    ] {
        assert_eq!(pair.ok(line)?.log, message, "{line}");
    }
    Ok(())
}

#[test]
fn a_server_that_is_down_is_one_line() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.cluster.stop(Shutdown::Fast)?;
    let run = pair.run("subscriber tables")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.starts_with("ERROR cannot connect to subscriber_db"),
        "{}",
        run.log
    );
    assert_eq!(run.log.lines().count(), 1, "{}", run.log);
    Ok(())
}

#[test]
fn wrong_credentials_are_refused_without_showing_them() -> TestResult {
    let pair = Pair::empty()?;
    let wrong = format!(
        "provider_db={} user=nobody_such password=s3cret",
        pair.cluster.conninfo("provider")
    );
    let run = pair.run_args(&["provider", "tables", "--set", &wrong])?;
    assert_eq!(run.code, Some(1));
    assert!(run.log.contains("nobody_such"), "{}", run.log);
    assert!(!run.log.contains("s3cret"), "{}", run.log);
    Ok(())
}

#[test]
fn two_set_up_commands_exclude_each_other_and_reading_ones_do_not() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    let mut blocker = pair.cluster.connect("provider")?;
    let mut transaction = blocker.transaction()?;
    transaction.batch_execute("lock table t in access exclusive mode")?;
    let mut waiting = pair.start("provider add t")?;
    let patience = Duration::from_secs(10);
    testkit::wait_until("the command to wait for the table", patience, || {
        Ok(value::<i64>(
            &mut pair.provider,
            "select count(*) from pg_locks where not granted",
        )? == 1)
    })?;
    let run = pair.run("provider remove t")?;
    assert_eq!(run.code, Some(1));
    assert!(run.log.contains("another process running?"), "{}", run.log);
    assert_eq!(pair.run("provider tables")?.code, Some(0));
    transaction.rollback()?;
    assert!(waiting.wait(patience)?.success());
    Ok(())
}

#[test]
fn signals_need_no_command_and_find_nothing_to_stop() -> TestResult {
    let pair = Pair::empty()?;
    for option in ["-s", "-k", "-r"] {
        let run = pair.run(option)?;
        assert_eq!(
            (run.code, run.log.as_str()),
            (Some(0), "WARNING No pidfile, process not running\n")
        );
    }
    let mut copy = std::process::Command::new("true").spawn()?;
    copy.wait()?;
    pair.write("replic.pid.copy.public.t", &format!("{}\n", copy.id()))?;
    for option in ["-s", "-k"] {
        assert_eq!(
            pair.run(option)?.log,
            "INFO Signaling running COPY first\n\
             WARNING pidfile exist, but process not running\n\
             WARNING No pidfile, process not running\n"
        );
    }
    assert_eq!(
        pair.run("-r")?.log,
        "WARNING No pidfile, process not running\n"
    );
    Ok(())
}

#[test]
fn a_root_that_no_relay_can_follow_goes_on_writing() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t")?;
    for (line, message) in [
        ("provider demote", "this command works on the relay"),
        (
            "provider demote --set mirror_queue=replic",
            "subscriber_db is no relay of queue replic; run: londiste INI subscriber relay-init",
        ),
    ] {
        let run = pair.run(line)?;
        assert_eq!(run.code, Some(1), "{line}");
        assert!(run.log.contains(message), "{line}: {}", run.log);
        pair.provider
            .batch_execute("insert into t select count(*) from t")?;
    }
    Ok(())
}
