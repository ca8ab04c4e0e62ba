//! `skylog.ini`, on the example program `job`: where records go, and that nothing disturbs it.

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Dir, SOON, messages};
use postgres::Client;
use rustix::process::Signal;
use testkit::{Cluster, Shutdown, TestResult, wait_until};

const PLAIN: &str = "\
[loggers]
keys = root

[formatters]
keys = short

[formatter_short]
format = %(levelname)s %(job_name)s/%(service_name)s: %(message)s

[logger_root]
level = ERROR
handlers = it

[handlers]
keys = it

";

/// A job that uses a `skylog.ini` with one handler.
fn site(class: &str, args: &str) -> TestResult<Dir> {
    let dir = Dir::new("use_skylog = 2\njob_name = mine")?;
    let handler = format!("[handler_it]\nclass = {class}\nargs = {args}\nformatter = short\n");
    dir.write("skylog.ini", &format!("{PLAIN}{handler}"))?;
    Ok(dir)
}

fn receive(receive: impl Fn(&mut [u8]) -> io::Result<usize>) -> TestResult<String> {
    let mut buffer = [0; 4096];
    let length = receive(&mut buffer)?;
    Ok(String::from_utf8(buffer[..length].to_vec())?)
}

/// A socket that does not wait for ever.
fn udp() -> TestResult<(UdpSocket, u16)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(SOON))?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

#[test]
fn the_first_file_of_the_list_counts_and_none_is_an_error() -> TestResult {
    let dir = Dir::new("use_skylog = 2")?;
    let home = dir.path("home");
    std::fs::create_dir(&home)?;
    let run = |args: &[&str]| dir.job(args).env("HOME", &home).output();
    let output = run(&[
        "job.ini",
        "chatter",
        "1",
        "--set",
        "skylog_locations=a.ini,b",
    ])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, "skylog.ini not found!\n");

    let to = |file: &str| format!("{PLAIN}[handler_it]\nclass = FileHandler\nargs = ('{file}',)\n");
    dir.write("home/.skylog.ini", &to("from-home"))?;
    let output = run(&["job.ini", "chatter", "1"])?;
    assert_eq!(
        (output.status.code(), output.stderr.as_str()),
        (Some(0), "")
    );
    assert_eq!(dir.read("from-home"), "chatter record=0\n");
    dir.write("skylog.ini", &to("from-here"))?;
    run(&["job.ini", "chatter", "1"])?;
    assert_eq!(dir.read("from-here"), "chatter record=0\n");
    run(&[
        "job.ini",
        "chatter",
        "1",
        "--set",
        "skylog_locations=~/.skylog.ini, skylog.ini",
    ])?;
    assert_eq!(
        dir.read("from-home"),
        "chatter record=0\nchatter record=0\n"
    );
    // The file of the job's own configuration is written beside it, in its own layout.
    assert_eq!(messages(&dir.read("job.log")).len(), 3);
    Ok(())
}

#[test]
fn without_a_terminal_1_is_as_good_as_2_and_0_is_off() -> TestResult {
    let dir = site("FileHandler", "('x',)")?;
    dir.job(&["job.ini", "chatter", "1", "--set", "use_skylog=1"])
        .succeed()?;
    assert_eq!(dir.read("x"), "INFO mine/job: chatter record=0\n");
    let output = dir
        .job(&["job.ini", "chatter", "1", "--set", "use_skylog=0"])
        .succeed()?;
    assert_eq!(messages(&output.stderr), ["chatter record=0"]);
    assert_eq!(dir.read("x").lines().count(), 1);
    Ok(())
}

#[test]
fn a_wrong_file_is_an_error_that_names_the_section() -> TestResult {
    let dir = site("FileHandler", "('x',)")?;
    for (from, to, problem) in [
        (
            "'x'",
            "open('x')",
            "[handler_it] args: expected a known name, found open",
        ),
        (
            "FileHandler",
            "Nonsense",
            "[handler_it] class: expected a known class, found Nonsense",
        ),
        (
            "FileHandler",
            "skylog.UdpLogServerHandler",
            "[handler_it] args: expected (host, port)",
        ),
        (
            "level = ERROR",
            "level = LOUD",
            "[logger_root] level: expected a level, found LOUD",
        ),
        (
            "handlers = it",
            "handlers = that",
            "[logger_root] handlers: expected a name from [handlers]",
        ),
        (
            "keys = root",
            "keys = x",
            "[loggers] keys: expected root among the loggers",
        ),
        (
            "formatter = short",
            "formatter = x",
            "no section 'formatter_x'",
        ),
        (
            "%(levelname)s",
            "%(nonsense)s",
            "[formatter_short] format: unknown field %(nonsense)s",
        ),
        (
            "'x'",
            "'no/such/x'",
            "[handler_it] args: cannot open no/such/x: ",
        ),
    ] {
        let text = dir.read("skylog.ini");
        dir.write("broken.ini", &text.replacen(from, to, 1))?;
        let set = "skylog_locations=broken.ini";
        let output = dir.run(&["job.ini", "chatter", "1", "--set", set])?;
        assert_eq!(output.status.code(), Some(1), "{to}: {}", output.stderr);
        assert!(output.stderr.contains(problem), "{to}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_logger_of_the_job_has_its_own_level_and_handlers() -> TestResult {
    let dir = Dir::new("use_skylog = 2\njob_name = mine")?;
    let file = |propagate: &str| {
        format!(
            "[loggers]\nkeys = root,mine,other\n[logger_root]\nlevel = INFO\nhandlers = all,bad\n\
             [logger_mine]\nqualname = mine\nlevel = DEBUG\nhandlers = own\n{propagate}\n\
             [logger_other]\nqualname = other\nlevel = DEBUG\nhandlers = bad\npropagate = 0\n\
             [handlers]\nkeys = all,own,bad\n[handler_all]\nclass = FileHandler\nargs = ('all',)\n\
             [handler_own]\nclass = FileHandler\nargs = ('own', 'w')\n\
             [handler_bad]\nclass = FileHandler\nlevel = WARNING\nargs = ('bad',)\n"
        )
    };
    dir.write("skylog.ini", &file(""))?;
    dir.run(&["job.ini", "compare"])?;
    let all = [
        "Comparing",
        "rows differ rows=3 note=\"two words\" table=public.users",
        "done table=public.users",
    ];
    let lines = |name: &str| -> Vec<String> { dir.read(name).lines().map(str::to_owned).collect() };
    assert_eq!(lines("all"), all);
    assert_eq!(lines("own"), all);
    assert_eq!(lines("bad"), [all[1]]);

    dir.write("skylog.ini", &file("propagate = 0"))?;
    dir.run(&["job.ini", "compare"])?;
    assert_eq!(lines("all").len(), 3);
    assert_eq!(lines("own"), all, "written anew");

    // For another job the level of the command line counts, not that of the file.
    dir.run(&["job.ini", "compare", "-q", "--set", "job_name=third"])?;
    assert_eq!(lines("all").len(), 4);
    assert_eq!(lines("own"), Vec::<String>::new(), "opened, but not used");
    Ok(())
}

#[test]
fn a_rotating_file_is_rotated() -> TestResult {
    let dir = site("skylog.EasyRotatingFileHandler", "('~/r.log', 2*50, 2)")?;
    dir.job(&["job.ini", "chatter", "30"])
        .env("HOME", dir.path(""))
        .succeed()?;
    assert!(dir.exists("r.log") && dir.exists("r.log.1") && dir.exists("r.log.2"));
    assert!(!dir.exists("r.log.3"));
    assert!(dir.read("r.log").ends_with("chatter record=29\n"));
    Ok(())
}

#[test]
fn a_record_is_one_json_object_in_one_datagram() -> TestResult {
    let (socket, port) = udp()?;
    let dir = site(
        "skylog.UdpLogServerHandler",
        &format!("('localhost', {port})"),
    )?;
    let reason = format!(
        "a \"quote\"\\, a tab\t, é\nand a new line {}",
        "x".repeat(2000)
    );
    dir.write("failure", &reason)?;
    dir.run(&["job.ini", "count", "--once", "--set", "failure=failure"])?;
    let mut found = None;
    for _ in 0..10 {
        let text = receive(|buffer| socket.recv(buffer))?;
        let start = "{\"logger\":\"skytools.UdpLogServer\",\"timestamp\":1";
        assert!(text.starts_with(start), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text)?;
        if json["level"] == "ERROR" {
            found = Some(json);
            break;
        }
        assert_eq!(json["level"], "INFO");
    }
    let json = found.expect("the failure was logged");
    let message = json["message"].as_str().expect("a text");
    let whole = format!("ERROR mine/job: Job mine crashed: cannot go on: {reason}");
    assert_eq!(message, whole.chars().take(1024).collect::<String>());
    assert_eq!(json["thread"], serde_json::Value::Null);
    let properties = &json["properties"];
    assert_eq!(properties["application"], "mine");
    assert_eq!(properties["apptype"], "job");
    assert_eq!(properties["type"], "sys");
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    assert_eq!(properties["hostname"], host);
    assert!(
        properties["hostaddr"]
            .as_str()
            .is_some_and(|text| text.contains(['.', ':']))
    );
    Ok(())
}

#[test]
fn the_system_log_is_reached_by_udp_and_by_socket() -> TestResult {
    let (socket, port) = udp()?;
    let args = format!("(('127.0.0.1', {port}), handlers.SysLogHandler.LOG_LOCAL0)");
    let dir = site("skylog.SysLogHandler", &args)?;
    dir.job(&["job.ini", "chatter", "1"]).succeed()?;
    assert_eq!(
        receive(|buffer| socket.recv(buffer))?,
        "<134>INFO mine/job: chatter record=0\0"
    );

    let dir = site("skylog.SysLogHostnameHandler", "('log.socket', 'daemon')")?;
    let bind = || -> TestResult<UnixDatagram> {
        let socket = UnixDatagram::bind(dir.path("log.socket"))?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    };
    let socket = bind()?;
    dir.run(&["job.ini", "compare", "-v"])?;
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    for (priority, text) in [
        (30, "INFO mine/job: Comparing"),
        (
            28,
            "WARNING mine/job: rows differ rows=3 note=\"two words\" table=public.users",
        ),
        (31, "DEBUG mine/job: done table=public.users"),
    ] {
        assert_eq!(
            receive(|buffer| socket.recv(buffer))?,
            format!("<{priority}> {host} job {text}\0")
        );
    }

    // A system log that is started again is found again, and without one the job goes on.
    let _job = dir.job(&["job.ini", "count"]).spawn()?;
    receive(|buffer| socket.recv(buffer))?;
    drop(socket);
    std::fs::remove_file(dir.path("log.socket"))?;
    dir.wait_for_rounds()?;
    dir.wait_for_rounds()?;
    let socket = bind()?;
    receive(|buffer| socket.recv(buffer))?;
    Ok(())
}

/// A cluster with a log database, and a job that writes into it.
fn log_database() -> TestResult<(Cluster, Client, Dir)> {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute(
        "create schema log;
         create table log.data (id serial, level text, job text, message text);
         create function log.add(level text, job text, message text) returns bigint as
         'insert into log.data (level, job, message) values ($1, $2, $3) returning id'
         language sql;",
    )?;
    let args = format!("(\"{}\",)", cluster.conninfo("postgres"));
    Ok((cluster, db, site("skylog.LogDBHandler", &args)?))
}

fn rows(db: &mut Client) -> TestResult<Vec<(String, String, String)>> {
    let rows = db.query("select level, job, message from log.data order by id", &[])?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

#[test]
fn the_log_database_gets_summed_statistics_and_loses_none() -> TestResult {
    let (_cluster, mut db, dir) = log_database()?;
    let daemon = dir.daemon(&["-d", "-v", "job.ini", "count", "--set", "failure=failure"])?;
    wait_until("a hundred rounds", SOON, || Ok(dir.rounds() >= 100))?;
    dir.write("failure", "first line\nsecond line")?;
    wait_until("the failure", SOON, || {
        Ok(rows(&mut db)?.iter().any(|(level, _, _)| level == "ERROR"))
    })?;
    let found = rows(&mut db)?;
    assert!(
        found
            .iter()
            .all(|(level, job, _)| level != "DEBUG" && job == "mine"),
        "{found:?}"
    );
    let messages: Vec<&str> = found
        .iter()
        .map(|(_, _, message)| message.as_str())
        .collect();
    // The first statistics at once, the sum of the others before what is grave.
    assert_eq!(messages[..2], ["counting", "{rounds: 1}"]);
    assert_eq!(messages[3], "Job mine crashed: cannot go on: first line");
    let sum = |message: &str| -> TestResult<u64> {
        let number = message
            .strip_prefix("{rounds: ")
            .and_then(|rest| rest.strip_suffix('}'));
        Ok(number
            .ok_or_else(|| format!("no sum: {message}"))?
            .parse()?)
    };
    // The round that failed was counted, too.
    assert_eq!(sum(messages[2])? + 1, dir.rounds() + 1);

    // What is pending at the end is sent.
    std::fs::remove_file(dir.path("failure"))?;
    daemon.signal(Signal::HUP)?;
    dir.wait_for_rounds()?;
    dir.wait_for_rounds()?;
    daemon.signal(Signal::INT)?;
    daemon.wait_for_end()?;
    let mut total = 0;
    let mut failed = 0;
    for (_, _, message) in rows(&mut db)? {
        total += sum(&message).unwrap_or(0);
        failed += u64::from(message.contains("crashed"));
    }
    assert_eq!(total, dir.rounds() + failed);
    Ok(())
}

#[test]
fn a_log_database_that_is_away_disturbs_nobody_and_is_found_again() -> TestResult {
    let (mut cluster, mut db, dir) = log_database()?;
    dir.write("failure", "no luck")?;
    let failing = ["--set", "failure=failure", "--set", "exception_sleep=0.05"];
    let job = dir.job(&["job.ini", "count"]).args(failing).spawn()?;
    wait_until("a record", SOON, || Ok(rows(&mut db)?.len() > 3))?;
    let written = rows(&mut db)?.len();
    cluster.stop(Shutdown::Immediate)?;
    let crashes = || dir.read("job.log").matches("crashed").count();
    let before = crashes();
    wait_until("further rounds", SOON, || Ok(crashes() > before + 5))?;
    assert!(
        !messages(&dir.read("job.log"))
            .iter()
            .any(|line| line.contains("skylog")),
        "a failing log is not logged"
    );
    cluster.start_again()?;
    let mut db = cluster.connect("postgres")?;
    wait_until("records after the outage", Duration::from_secs(60), || {
        Ok(rows(&mut db)?.len() > written + 3)
    })?;
    drop(job);
    Ok(())
}

#[test]
fn a_command_hands_all_it_has_to_say_to_the_log_database() -> TestResult {
    let (_cluster, mut db, dir) = log_database()?;
    // An unknown key is warned about before there can be a thread.
    dir.job(&["job.ini", "chatter", "3", "--set", "unheard=of"])
        .succeed()?;
    let messages: Vec<String> = rows(&mut db)?.into_iter().map(|(_, _, m)| m).collect();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(
        messages[0].starts_with("unknown key 'unheard'"),
        "{messages:?}"
    );
    assert_eq!(messages[3], "chatter record=2");
    Ok(())
}
