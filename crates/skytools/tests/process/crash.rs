//! What the log says of rounds that fail on a server, on the example program `job`.

use std::os::unix::process::ExitStatusExt;

use crate::support::{Dir, SOON, messages};
use rustix::process::Signal;
use testkit::{Cluster, Shutdown, TestResult, wait_until};

/// Runs one round that asks `query`, and returns what it logged last.
fn failure(cluster: &Cluster, query: &str) -> TestResult<String> {
    let dir = Dir::new("")?;
    let db = cluster.conninfo("postgres");
    dir.configure(&format!("db = {db} password=hunter2\nquery = {query}"))?;
    let output = dir.run(&["job.ini", "count", "--once"])?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let log = dir.read("job.log");
    assert!(!log.contains("hunter2"), "{log}");
    let lines = messages(&log);
    let found = lines.iter().find(|line| line.starts_with("Job "));
    Ok(found.ok_or("no crash in the log")?.clone())
}

#[test]
fn a_failed_statement_is_named_with_its_connection() -> TestResult {
    let cluster = Cluster::start()?;
    assert_eq!(
        failure(&cluster, "select x from missing")?,
        "Job job got error on connection 'db': relation \"missing\" does not exist.   Query: \
         select x from missing"
    );
    cluster.connect("postgres")?.batch_execute(
        "create table t (id int4 primary key, password text); insert into t values (1)",
    )?;
    assert_eq!(
        failure(
            &cluster,
            "insert into t -- again\n  values (1, 'secret'), (2, E'a\\'b'), (3, $$c$$)"
        )?,
        "Job job got error on connection 'db': duplicate key value violates unique constraint \
         \"t_pkey\" DETAIL: Key (id)=(1) already exists.   Query: insert into t values (..., \
         '...'), (..., '...'), (..., '...')"
    );
    let raise = "do $$ begin raise 'bad' using detail = 'one', hint = 'two.'; end $$";
    assert_eq!(
        failure(&cluster, raise)?,
        "Job job got error on connection 'db': bad DETAIL: one HINT: two.   Query: do '...'"
    );
    Ok(())
}

#[test]
fn of_a_long_statement_the_beginning_is_shown() -> TestResult {
    let cluster = Cluster::start()?;
    let columns = vec!["missing"; 40].join(", ");
    let line = failure(&cluster, &format!("select {columns} from pg_class"))?;
    let query = line.split(".   Query: ").nth(1).ok_or("no query")?;
    assert_eq!(
        query,
        "select missing, missing, missing, missing, missing, missing, ..."
    );
    assert_eq!(query.chars().count(), 64);
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_a_crash() -> TestResult {
    let mut cluster = Cluster::start()?;
    cluster.stop(Shutdown::Fast)?;
    let line = failure(&cluster, "select 1")?;
    assert!(
        line.starts_with("Job job crashed: cannot connect to db: "),
        "{line}"
    );
    Ok(())
}

#[test]
fn expected_errors_are_warnings_until_their_time_is_over() -> TestResult {
    let cluster = Cluster::start()?;
    let db = cluster.conninfo("postgres");
    let levels = |keys: &str, rounds: usize| -> TestResult<Vec<String>> {
        let dir = Dir::new("")?;
        dir.configure(&format!(
            "loop_delay = 0.01\nexception_sleep = 0.01\ndb = {db}\nquery = select 1 / 0\n{keys}"
        ))?;
        let _job = dir.job(&["job.ini", "count"]).spawn()?;
        let failures = || -> Vec<String> {
            let log = dir.read("job.log");
            log.lines()
                .filter(|line| line.contains("division by zero"))
                .filter_map(|line| line.split(' ').nth(3).map(str::to_owned))
                .collect()
        };
        wait_until("failures", SOON, || Ok(failures().len() >= rounds))?;
        Ok(failures()[..rounds].to_vec())
    };
    assert_eq!(levels("", 2)?, ["ERROR", "ERROR"]);
    for name in ["22012", "22", "Db", "ALL", "40001, 22"] {
        assert_eq!(
            levels(&format!("exception_quiet = {name}"), 2)?,
            ["WARNING", "WARNING"],
            "{name}"
        );
    }
    assert_eq!(levels("exception_quiet = 40001, Told", 1)?, ["ERROR"]);
    assert_eq!(
        levels("exception_quiet = ALL\nexception_grace = 0", 1)?,
        ["ERROR"]
    );
    let seen = levels("exception_quiet = ALL\nexception_grace = 0.3", 60)?;
    assert_eq!(seen.first().map(String::as_str), Some("WARNING"));
    assert_eq!(seen.last().map(String::as_str), Some("ERROR"));
    Ok(())
}

#[test]
fn sigterm_does_not_wait_for_a_query() -> TestResult {
    let cluster = Cluster::start()?;
    let dir = Dir::new("")?;
    let db = cluster.conninfo("postgres");
    dir.configure(&format!("db = {db}\nquery = select pg_sleep(3600)"))?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    let mut watch = cluster.connect("postgres")?;
    wait_until("the query", SOON, || {
        let query = "select from pg_stat_activity where wait_event = 'PgSleep'";
        Ok(!watch.query(query, &[])?.is_empty())
    })?;
    assert!(dir.exists("job.pid"));
    dir.job(&["-k", "job.ini"]).succeed()?;
    assert_eq!(job.wait(SOON)?.signal(), Some(Signal::TERM.as_raw()));
    assert!(!dir.exists("job.pid"));
    Ok(())
}
