//! Disks that are full, on either side: nothing is lost, it is said what is wrong, and all goes on when there
//! is room again.

use postgres::error::SqlState;
use testkit::{Program, SmallDisk, TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair, SIMPLE};

/// So many rows, half a kilobyte each.
fn insert(from: u32, to: u32) -> String {
    format!("insert into t select i, repeat('x', 500) from generate_series({from}, {to}) i")
}

/// Waits until `status` tells of a full disk in an error that begins so, and of a job that is well.
fn wait_status(pair: &Pair, start: &str) -> TestResult {
    wait_until("status to tell of the full disk", PATIENCE, || {
        let text = pair.londiste(&["status"])?.stdout;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("error   {start}")));
        let told = line.is_some_and(|line| line.contains("No space left on device"));
        Ok(told && text.contains("NOT HEALTHY"))
    })
    .map_err(|error| pair.explain(error))
}

fn wait_well(pair: &Pair) -> TestResult {
    wait_until("status to tell that all is well", PATIENCE, || {
        let text = pair.londiste(&["status"])?.stdout;
        Ok(!text.contains("error   ") && text.contains("\n  last error, over "))
    })
    .map_err(|error| pair.explain(error))
}

#[test]
fn replay_waits_for_room_on_the_disk_of_the_subscriber() -> TestResult {
    let Some(disk) = SmallDisk::mount(4)? else {
        return Ok(());
    };
    let pair = Pair::start(SIMPLE)?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    pair.subscriber.create_tablespace("small", disk.path())?;
    subscriber.batch_execute(
        "alter table t set tablespace small;
         alter table londiste.job_error set tablespace small;
         alter index londiste.job_error_pkey set tablespace small",
    )?;
    provider.batch_execute(&insert(1, 20_000))?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    // The text of the error has to go to the full disk, too.
    wait_status(&pair, "the copy of public.t fails since ")?;
    assert_eq!(pair.state("public.t")?, "in-copy");
    let rows = subscriber.query_one("select count(*) from t", &[])?;
    assert_eq!(rows.get::<_, i64>(0), 0, "a copy is all or nothing");
    disk.resize(64)?;
    pair.wait_ok(&["public.t"])?;
    wait_well(&pair)?;

    disk.fill()?;
    provider.batch_execute(&insert(20_001, 30_000))?;
    provider.batch_execute("update t set data = 'changed' where id <= 10")?;
    wait_status(&pair, "replay fails since ")?;
    let rows = subscriber.query_one(
        "select count(*) from t where id > 20000 or data = 'changed'",
        &[],
    )?;
    assert_eq!(rows.get::<_, i64>(0), 0, "and so is a batch");
    disk.free()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 30_000);
    wait_well(&pair)?;

    disk.fill()?;
    pair.londiste(&["subscriber", "resync", "t"])?;
    wait_status(&pair, "the copy of public.t fails since ")?;
    let rows = subscriber.query_one("select count(*) from t", &[])?;
    assert_eq!(
        rows.get::<_, i64>(0),
        30_000,
        "until it is there, the old rows stay"
    );
    disk.free()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 30_000);
    pair.assert_tidy()
}

#[test]
fn writers_and_replay_wait_for_room_on_the_disk_of_the_provider() -> TestResult {
    let Some(disk) = SmallDisk::mount(8)? else {
        return Ok(());
    };
    let mut pair = Pair::start(SIMPLE)?;
    let mut provider = pair.provider()?;
    pair.provider.create_tablespace("small", disk.path())?;
    // Batches are sorted on the small disk.
    provider.batch_execute(
        "alter database shop set temp_tablespaces = small; alter database shop set work_mem = '64kB';
         alter table pgq.event_1_0 set tablespace small; alter table pgq.event_1_1 set tablespace small;
         alter table pgq.event_1_2 set tablespace small",
    )?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute(&insert(1, 100))?;
    pair.catch_up()?;

    // What cannot be logged does not happen, and what was logged before is there.
    let too_much = provider.batch_execute(&insert(101, 30_000));
    let error = too_much.expect_err("its events take 15 MB");
    assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error:?}");
    // What it had written is still in the way.
    disk.resize(64)?;
    pair.ticker = None;
    provider.batch_execute(&insert(101, 5_000))?;
    disk.fill()?;
    pair.start_ticker()?;
    wait_status(&pair, "replay fails since ")?;
    disk.free()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 5_000);
    wait_well(&pair)
}

#[test]
fn a_repair_file_that_has_no_room_is_given_up_whole() -> TestResult {
    let Some(disk) = SmallDisk::mount(1)? else {
        return Ok(());
    };
    let (pair, _replay) = Pair::simple()?;
    let repair = || {
        Program::new("londiste", disk.path())
            .args([pair.path("replay.ini").as_os_str(), "repair".as_ref()])
            .output()
    };
    let files = || -> TestResult<Vec<String>> {
        let names = std::fs::read_dir(disk.path())?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    pair.provider()?.batch_execute(&insert(1, 5_000))?;
    pair.catch_up()?;
    pair.subscriber()?.batch_execute("delete from t")?;
    let output = repair()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("fix.public.t.sql") && output.stderr.contains("No space left"),
        "{}",
        output.stderr
    );
    assert_eq!(files()?, [] as [String; 0]);

    disk.resize(16)?;
    let output = repair()?;
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert_eq!(files()?, ["fix.public.t.sql"]);
    let file = std::fs::read_to_string(disk.path().join("fix.public.t.sql"))?;
    pair.subscriber()?.batch_execute(&file)?;
    assert_eq!(pair.assert_equal(ALL)?, 5_000);
    Ok(())
}
