//! Providers that were upgraded, or restored elsewhere.

use std::process::Command;

use rustix::process::Signal;
use testkit::{Cluster, Shutdown, TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair};

/// Runs a program that must succeed; returns what it wrote.
fn succeed(command: &mut Command) -> TestResult<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&said)).into())
}

/// A pair at rest: one row is replicated, another one waits in the queue without a tick.
fn at_rest() -> TestResult<Pair> {
    let (mut pair, mut replay) = Pair::simple()?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'replicated')")?;
    pair.catch_up()?;
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    pair.ticker = None;
    pair.provider()?
        .batch_execute("insert into t values (2, 'waits')")?;
    Ok(pair)
}

/// Goes on, and writes more.
fn goes_on(pair: &mut Pair) -> TestResult {
    pair.start_ticker()?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    pair.provider()?.batch_execute(
        "insert into t values (3, 'new'); update t set data = data || '!' where id < 3",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 3);
    assert!(!pair.log()?.contains("Lost position"), "{}", pair.log()?);
    pair.assert_tidy()
}

#[test]
fn a_provider_goes_on_after_pg_upgrade() -> TestResult {
    let mut pair = at_rest()?;
    if !pair.has(&["pg_upgrade", "pg_dump", "pg_dumpall", "psql"]) {
        return Ok(());
    }
    let mut new = Cluster::start()?;
    new.stop(Shutdown::Fast)?;
    pair.provider.stop(Shutdown::Fast)?;
    succeed(
        new.command("pg_upgrade")
            .current_dir(new.socket_dir())
            .arg("--link")
            .args(["--username", "postgres", "--old-bindir"])
            .arg(pair.provider.bindir())
            .arg("--old-datadir")
            .arg(pair.provider.data_dir())
            .arg("--new-datadir")
            .arg(new.data_dir()),
    )?;
    new.start_again()?;
    pair.provide_from(new)?;
    pair.londiste(&["provider", "check"])?;
    goes_on(&mut pair)
}

/// Where transaction ids are behind those of the dump, events would seem to be older than the ticks.
#[test]
fn a_provider_restored_from_a_dump_waits_until_its_transaction_ids_are_raised() -> TestResult {
    let mut pair = at_rest()?;
    if !pair.has(&["pg_dump", "psql", "pg_resetwal"]) {
        return Ok(());
    }
    let mut old = pair.provider()?;
    old.batch_execute(
        "do $$ begin for i in 1..3000 loop perform txid_current(); commit; end loop; end $$",
    )?;
    old.batch_execute("select pgq.force_tick('q')")?;
    old.batch_execute("select pgq.ticker('q')")?;
    let dump = pair.path("dump");
    let shop = pair.provider.conninfo("shop");
    succeed(
        pair.provider
            .command("pg_dump")
            .stdout(std::fs::File::create(&dump)?)
            .args(["-d", &shop]),
    )?;
    let mut new = Cluster::start()?;
    new.create_database("shop")?
        .batch_execute("create role pgq_reader; create role pgq_writer; create role pgq_admin")?;
    succeed(
        Command::new(new.bindir().join("psql"))
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &new.conninfo("shop"),
                "-f",
            ])
            .arg(&dump),
    )?;
    new.stop(Shutdown::Fast)?;
    new.start_again()?;
    pair.provide_from(new)?;

    pair.start_ticker()?;
    wait_until("the ticker to refuse", PATIENCE, || {
        Ok(std::fs::read_to_string(pair.path("ticker.log"))?.contains("Invalid PgQ state"))
    })?;
    pair.ticker = None;
    pair.provider.stop(Shutdown::Fast)?;
    succeed(
        pair.provider
            .command("pg_resetwal")
            .args(["-e", "1", "-D"])
            .arg(pair.provider.data_dir()),
    )?;
    pair.provider.start_again()?;
    pair.londiste(&["provider", "refresh", "--all"])?;
    goes_on(&mut pair)
}
