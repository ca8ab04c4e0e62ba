//! The example of `docs/scriptmgr.md`, with a real ticker and a real replication.

use std::fs;

use e2e::{Replication, TIMEOUT};
use testkit::TestResult;

const PAGE: &str = include_str!("../../docs/scriptmgr.md");

/// The text between a line and the end of the block that it begins.
fn block(start: &str) -> TestResult<&'static str> {
    let (_, text) = PAGE
        .split_once(start)
        .ok_or_else(|| format!("the page has no {start:?}"))?;
    let (text, _) = text.split_once("```").ok_or("the block has no end")?;
    Ok(text)
}

#[test]
fn the_example_of_the_page_manages_a_ticker_and_a_replication() -> TestResult {
    let it = Replication::start("create table users (id int primary key, name text)")?;
    it.typed("londiste replic.ini provider add users")?;
    it.typed("londiste replic.ini subscriber add users")?;
    it.wait_synced()?;
    it.stop()?;
    fs::write(it.dir().join("jobs.ini"), block("```ini\n# jobs.ini\n")?)?;

    let session = block("```\nscriptmgr jobs.ini ")?;
    let session: Vec<String> = format!("scriptmgr jobs.ini {session}")
        .lines()
        .map(str::to_owned)
        .collect();
    let [start, status, reload, restart, stop] = &session[..] else {
        return Err(format!("the page shows another session: {session:?}").into());
    };
    let shown = block("`status` shows\n\n```\n")?;

    it.typed(start)?;
    let ticker = it.ticker.wait_alive(TIMEOUT)?;
    let replay = it.replay.wait_alive(TIMEOUT)?;
    assert_eq!(it.typed(status)?.stdout, shown);
    it.typed(reload)?;
    it.wait("the reload", || {
        let log = fs::read_to_string(it.log("replic.log"))?;
        Ok(log.contains("Config reloaded"))
    })?;
    it.wait_caught_up(
        "insert into users values (1, 'managed')",
        "select from users where id = 1",
    )?;
    it.typed(restart)?;
    let again = it.replay.wait_alive(TIMEOUT)?;
    assert_ne!(replay, again);
    assert_eq!(it.ticker.wait_alive(TIMEOUT)?, ticker);

    // A lost pidfile does not hide a job that holds its lock.
    fs::remove_file(it.dir().join("replic.pid"))?;
    assert_eq!(it.typed(status)?.stdout, shown);
    it.refused("londiste replic.ini replay -d", "another process running")?;

    it.typed(stop)?;
    it.refused("scriptmgr jobs.ini status", "")?;
    let stopped = it.program("scriptmgr jobs.ini status").output()?.stdout;
    assert_eq!(stopped, shown.replace(" OK      ", " STOPPED "));

    // After a crash, with another process of that id, it starts all the same.
    fs::write(it.dir().join("replic.pid"), std::process::id().to_string())?;
    it.typed(start)?;
    assert_eq!(it.typed(status)?.stdout, shown);
    it.typed(stop)?;
    it.logs_are_clean_but_for(&[])
}
