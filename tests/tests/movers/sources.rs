//! Sources that are read while they rotate, are of older versions, or have no encoding.

use postgres::Client;
use testkit::{MoverSite, TestResult, tick, wait_until};

use crate::{KINDS, Kind, PATIENCE, Site, TARGET, ids, put};

/// PgQ 2.1, with `pgq_ext`.
const VERSION_2: &str = include_str!("../../../crates/pgq/tests/sql/fixtures/version_2.sql");

/// The table that takes a queue's events.
fn current_table(db: &mut Client, queue: &str) -> TestResult<i32> {
    let current = "select queue_cur_table from pgq.queue where queue_name = $1";
    Ok(db.query_one(current, &[&queue])?.get(0))
}

/// Rotates a queue, if it lets itself.
fn rotate(db: &mut Client, queue: &str) -> TestResult {
    db.execute(
        "update pgq.queue set queue_rotation_period = '0' where queue_name = $1",
        &[&queue],
    )?;
    db.execute("select pgq.maint_rotate_tables_step1($1)", &[&queue])?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    Ok(())
}

#[test]
fn queues_that_rotate_while_a_batch_is_read_and_written_lose_nothing() -> TestResult {
    let mut it = Site::start()?;
    let mut holder = it.site.db("src")?;
    for kind in &KINDS {
        let name = kind.program;
        // What was begun under the snapshot of the one before can be ended now.
        rotate(&mut it.src, "from")?;
        it.turn_to(kind, "")?;
        it.put(1)?;
        it.site.drain(name)?;
        it.put(2)?;
        // The server reads until it comes to the lock that the test has.
        let filter = "consumer_filter = pg_advisory_xact_lock_shared(7)::text is not null";
        it.site.write(name, filter)?;
        holder.batch_execute("select pg_advisory_lock(7)")?;
        let mut running = it.run(kind, "--once")?;
        let src = &mut it.src;
        wait_until("the batch to be read", PATIENCE, || {
            let waiting = "select from pg_locks where locktype = 'advisory' and not granted";
            Ok(!src.query(waiting, &[])?.is_empty())
        })?;
        let before = current_table(src, "from")?;
        for id in 3..=6 {
            rotate(src, "from")?;
            put(src, id)?;
            for queue in ["to", "public.t"] {
                rotate(&mut it.dst, queue)?;
            }
        }
        assert_ne!(current_table(src, "from")?, before, "{name}");
        holder.batch_execute("select pg_advisory_unlock(7)")?;
        let status = running.wait(PATIENCE)?;
        assert!(status.success(), "{}", it.site.log(name));
        it.site.write(name, "")?;
        it.site.drain(name)?;
        assert_eq!(it.arrived(kind)?, [1, 2, 3, 4, 5, 6], "{name}");
        // Who does not read on holds up the next rotation.
        let unregister = "select pgq.unregister_consumer('from', $1)";
        it.src.execute(unregister, &[&name])?;
    }
    Ok(())
}

#[test]
fn a_source_that_was_restored_and_makes_its_newest_tick_anew_stops_the_job() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        it.turn_to(kind, "")?;
    }
    // A database that is copied or renamed must not be in use.
    let between = |it: &mut Site, statements: &[&str]| -> TestResult {
        it.src = it.site.db("postgres")?;
        for statement in statements {
            it.src.batch_execute(statement)?;
        }
        it.src = it.site.db("src")?;
        Ok(())
    };
    between(&mut it, &["create database backup template src"])?;
    it.put(1)?;
    for kind in &KINDS {
        it.turn_to(kind, "")?;
    }
    let restore = ["drop database src", "alter database backup rename to src"];
    between(&mut it, &restore)?;
    it.put(2)?;
    for kind in &KINDS {
        let name = kind.program;
        it.site.turn_to(name, kind.lines);
        let other = "and at the source that number is another one";
        it.site.refused(&format!("{name}.ini --once"), other)?;
        it.site.refused(&format!("{name}.ini --rewind"), other)?;
        assert_eq!(it.arrived(kind)?, [1], "{name}");
        it.site.program(&format!("{name}.ini --reset")).succeed()?;
        it.site.drain(name)?;
        assert_eq!(it.arrived(kind)?, [1, 2], "{name}");
    }
    Ok(())
}

/// Makes a queue of any version that ticks when it is told to.
fn any_queue(db: &mut Client, queue: &str) -> TestResult {
    db.execute("select pgq.create_queue($1)", &[&queue])?;
    db.batch_execute(
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    )?;
    tick(db, queue)
}

/// What a mover of the older versions does with a batch of one event.
fn apply_by_hand(src: &mut Client, dst: &mut Client, kind: &Kind, id: i64) -> TestResult {
    let batch: i64 = src
        .query_one("select pgq.next_batch('from', $1)", &[&kind.program])?
        .get(0);
    let events = src.query("select ev_data from pgq.get_batch_events($1)", &[&batch])?;
    assert_eq!(events.len(), 1);
    let ticks = src.query_one(
        "select prev_tick_id, tick_id from pgq.get_batch_info($1)",
        &[&batch],
    )?;
    let (before, after): (i64, i64) = (ticks.get(0), ticks.get(1));
    let mut tx = dst.transaction()?;
    let stored = tx.query_one("select pgq_ext.get_last_tick($1)", &[&kind.program])?;
    assert_eq!(stored.get::<_, i64>(0), before, "{}", kind.program);
    tx.execute(kind.insert, &[&id])?;
    tx.execute(
        "select pgq_ext.set_last_tick($1, $2)",
        &[&kind.program, &after],
    )?;
    tx.commit()?;
    src.execute("select pgq.finish_batch($1)", &[&batch])?;
    Ok(())
}

/// Has jobs apply batches in turn with what was there before them.
fn takes_turns(site: &mut MoverSite, databases: [&str; 2]) -> TestResult {
    let (src, dst) = (
        &mut site.cluster.connect(databases[0])?,
        &mut site.cluster.connect(databases[1])?,
    );
    let [from, to] = databases.map(|name| site.cluster.conninfo(name));
    for kind in &KINDS {
        let name = kind.program;
        site.turn_to(name, kind.lines);
        site.write(name, &format!("src_db = {from}\ndst_db = {to}"))?;
        site.drain(name)?;
        for id in 1..=4 {
            put(src, id)?;
            match id % 2 {
                0 => apply_by_hand(src, dst, kind, id)?,
                _ => site.drain(name)?,
            }
        }
        assert_eq!(ids(dst, kind)?, [1, 2, 3, 4], "{name}");
    }
    Ok(())
}

#[test]
fn jobs_of_version_2_1_go_on_where_they_are_and_back_again() -> TestResult {
    let mut site = MoverSite::start(KINDS[0].program, KINDS[0].lines)?;
    for name in ["old_src", "old_dst"] {
        let mut db = site.cluster.create_database(name)?;
        db.batch_execute(VERSION_2)?;
    }
    any_queue(&mut site.cluster.connect("old_src")?, "from")?;
    let mut dst = site.cluster.connect("old_dst")?;
    dst.batch_execute(TARGET)?;
    for queue in ["to", "public.t"] {
        any_queue(&mut dst, queue)?;
    }
    takes_turns(&mut site, ["old_src", "old_dst"])
}

#[test]
fn a_queue_of_the_extension_of_version_3_is_read_like_any_other() -> TestResult {
    let mut it = Site::start()?;
    let mut src = it.site.cluster.create_database("old_src")?;
    let offered = "select from pg_available_extensions where name = 'pgq'";
    if src.query(offered, &[])?.is_empty() {
        eprintln!("skipped: the server has no extension of PgQ");
        return Ok(());
    }
    src.batch_execute("create extension pgq")?;
    any_queue(&mut src, "from")?;
    takes_turns(&mut it.site, ["old_src", "dst"])
}

#[test]
fn bytes_of_a_database_without_an_encoding_are_read_in_the_one_that_is_named() -> TestResult {
    let mut site = MoverSite::with_encoding(KINDS[0].program, KINDS[0].lines, "SQL_ASCII")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(TARGET)?;
    for queue in ["to", "public.t"] {
        any_queue(&mut dst, queue)?;
    }
    for kind in &KINDS {
        let name = kind.program;
        site.turn_to(name, kind.lines);
        site.write(name, "")?;
        site.drain(name)?;
    }
    // In what the trigger has encoded, and as it is.
    for data in [
        "'id=1&v=caf%e9'",
        "E'id=2&v=caf\\303\\251'",
        "E'id=3&v=caf\\351'",
    ] {
        src.batch_execute(&format!(
            "select pgq.insert_event('from', 'I:id', {data}, 'public.t', null, null, null)"
        ))?;
        tick(&mut src, "from")?;
    }
    for kind in &KINDS {
        let name = kind.program;
        site.turn_to(name, kind.lines);
        let is_row = kind.insert.starts_with("insert");
        if !is_row {
            // Events stay as they are, and the server refuses what is no text of the target.
            assert!(site.drain(name).is_err());
            let log = site.log(name);
            assert!(log.contains("invalid byte sequence for encoding"), "{log}");
            assert_eq!(ids(&mut dst, kind)?, [1, 2], "{name}");
            continue;
        }
        site.write(name, "")?;
        site.refused(
            &format!("{name}.ini --once"),
            "event 1 cannot be applied: column v is not valid",
        )?;
        site.write(name, "source_encoding = LATIN1\nbad_event = skip")?;
        site.drain(name)?;
        let table = kind.insert.split(' ').nth(2).unwrap_or_default();
        let values = dst.query(&format!("select v from {table} order by id"), &[])?;
        let values: Vec<&str> = values.iter().map(|row| row.get(0)).collect();
        assert_eq!(values, ["café", "cafÃ©", "café"], "{name}");
    }
    Ok(())
}
