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

/// A new cluster with all that one has which runs.
fn upgrade(old: &mut Cluster) -> TestResult<Cluster> {
    let mut new = Cluster::start()?;
    new.stop(Shutdown::Fast)?;
    old.stop(Shutdown::Fast)?;
    succeed(
        new.command("pg_upgrade")
            .current_dir(new.socket_dir())
            .arg("--link")
            .args(["--username", "postgres", "--old-bindir"])
            .arg(old.bindir())
            .arg("--old-datadir")
            .arg(old.data_dir())
            .arg("--new-datadir")
            .arg(new.data_dir()),
    )?;
    new.start_again()?;
    Ok(new)
}

#[test]
fn provider_and_subscriber_go_on_after_pg_upgrade() -> TestResult {
    let mut pair = at_rest()?;
    if !pair.has(&["pg_upgrade", "pg_dump", "pg_dumpall", "psql"]) {
        return Ok(());
    }
    let new = upgrade(&mut pair.provider)?;
    pair.provide_from(new)?;
    pair.londiste(&["provider", "check"])?;
    goes_on(&mut pair)?;

    // The subscriber with a table that was copied and has not met the others, with a foreign key put aside.
    pair.ticker = None;
    let schema = "create table later (id int primary key, t int constraint refers references t)";
    for mut side in [pair.provider()?, pair.subscriber()?] {
        side.batch_execute(schema)?;
    }
    pair.provider()?
        .batch_execute("insert into later values (1, 1), (2, 2)")?;
    let held = pair.path("held");
    let failpoints = format!("copy.copied=return(hold:{})", held.display());
    let program = pair.replay_program().env("FAILPOINTS", failpoints);
    let mut replay = program.spawn()?;
    pair.add(&["later"])?;
    pair.start_ticker()?;
    wait_until("the copy", PATIENCE, || Ok(held.exists()))?;
    pair.londiste(&["-k"])?;
    replay.wait(PATIENCE)?;
    std::fs::remove_file(&held)?;
    pair.provider()?
        .batch_execute("insert into later values (3, 3); update later set t = 3 where id = 1")?;
    let new = upgrade(&mut pair.subscriber)?;
    pair.subscribe_in(new)?;
    pair.londiste(&["subscriber", "check"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.later"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from later order by id")?, 3);
    wait_until("the foreign key", PATIENCE, || {
        let back = "select exists (select from pg_constraint where conname = 'refers')";
        Ok(pair.subscriber()?.query_one(back, &[])?.get(0))
    })?;
    pair.assert_tidy()
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
