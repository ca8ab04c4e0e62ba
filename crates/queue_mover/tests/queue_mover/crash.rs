//! The process dies, at every step and at any moment: each event arrives once.

use std::cell::RefCell;
use std::time::Duration;

use testkit::{Proxy, TestResult, Traffic, events_of, tick, wait_until};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Steps between which something is committed on either side.
const STEPS: [&str; 4] = [
    "consumer.after_next_batch",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = crate::site()?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    site.drain("mover")?;
    let put = |what: &str| -> TestResult {
        let src = &mut *src.borrow_mut();
        src.execute(
            "select pgq.insert_event('from', $1, n::text) from generate_series(1, 200) n",
            &[&what],
        )?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        let sent = events_of(&mut src.borrow_mut(), "from")?;
        let received = events_of(&mut dst.borrow_mut(), "to")?;
        assert!(
            sent == received,
            "{} sent, {} received",
            sent.len(),
            received.len()
        );
        Ok(())
    };
    site.survives_death_at(&STEPS, put, same)?;
    let arrived = || -> TestResult<i64> {
        let row = dst
            .borrow_mut()
            .query_one("select count(*) from pgq.event_template", &[])?;
        Ok(row.get(0))
    };
    site.survives_random_kills(12, || put("load"), arrived)?;
    same()
}

#[test]
fn a_connection_cut_during_the_commit_leaves_it_to_the_position_to_decide() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let proxy = Proxy::start(&site.cluster)?;
    site.write("mover", &format!("dst_db = {}", proxy.conninfo("dst")))?;
    site.drain("mover")?;
    // The commit waits for a lock that the test has.
    let table: String = dst
        .query_one("select pgq.current_event_table('to')", &[])?
        .get(0);
    dst.batch_execute(&format!(
        "create function wait() returns trigger language plpgsql as
             'begin perform pg_advisory_xact_lock(1); return null; end';
         create constraint trigger wait after insert on {table} deferrable initially deferred
             for each row execute function wait();
         select pg_advisory_lock(1)"
    ))?;
    src.batch_execute("select pgq.insert_event('from', 'a', 'b')")?;
    tick(&mut src, "from")?;
    let mut running = site.program("mover.ini").spawn()?;
    wait_until("the commit to begin", PATIENCE, || {
        let waiting = "select from pg_locks where locktype = 'advisory' and not granted";
        Ok(!dst.query(waiting, &[])?.is_empty())
    })?;
    proxy.set(Traffic::Cut);
    wait_until("the program to notice", PATIENCE, || {
        Ok(site.log("mover").contains(" ERROR "))
    })?;
    assert!(events_of(&mut dst, "to")?.is_empty());
    dst.batch_execute("select pg_advisory_unlock(1)")?;
    proxy.set(Traffic::Flows);
    wait_until("the batch to be known as applied", PATIENCE, || {
        Ok(site.log("mover").contains("is applied already"))
    })?;
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(PATIENCE)?.success());
    assert_eq!(events_of(&mut dst, "to")?, events_of(&mut src, "from")?);
    Ok(())
}
