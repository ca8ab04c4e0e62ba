//! Captures of rows know the current table of their queue from their plans: whoever rotates when, events go where
//! batches look for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::capture_guards::FORBID_SLOW_WAY;
use crate::support::{
    arrived, cluster_with_consumer, connect_as, consume, eager_queue, has_program, pid, refusal,
    row, rows, run_scripts, tick,
};

/// A queue `q` that may always rotate, with a consumer beyond its creation, and a captured table `t (id, a)`.
fn captured() -> TestResult<(Cluster, Client)> {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pgq.set_queue_config('q', 'rotation_period', '0');
         create table t (id int primary key, a text);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q'])",
    )?;
    tick(&mut db)?;
    consume(&mut db)?;
    Ok((cluster, db))
}

/// Begins a switch to the next table, and tries to complete it; returns whether it is complete.
fn rotate(db: &mut Client) -> TestResult<bool> {
    let before = row(db, "select queue_cur_table from pgq.queue")?;
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    assert_ne!(
        row(db, "select queue_cur_table from pgq.queue")?,
        before,
        "there was no switch"
    );
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    Ok(row(db, "select queue_switch_step2 is not null from pgq.queue")? == "t")
}

/// Lets the next switch happen: the consumer passes the last one.
fn pass(db: &mut Client) -> TestResult {
    for _ in 0..2 {
        tick(db)?;
        consume(db)?;
    }
    Ok(())
}

/// The event tables that the rows of `t` with the given keys went to.
fn tables_of(db: &mut Client, keys: &str) -> TestResult<Vec<String>> {
    rows(
        db,
        &format!(
            "select distinct tableoid::regclass::text from pgq.event_template \
             where ev_data ~ 'values \\(''({keys})''' order by 1"
        ),
    )
}

fn insert_row(db: &mut Client, id: i32) -> TestResult {
    db.execute("insert into t values ($1)", &[&id])?;
    Ok(())
}

#[test]
fn sessions_with_plans_follow_every_switch() -> TestResult {
    let (cluster, mut db) = captured()?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    let mut warm = cluster.connect("postgres")?;
    let insert = warm.prepare("insert into t values ($1)")?;
    warm.execute(&insert, &[&0])?;
    let version = "select count(*) from pg_proc where proname = 'current_table_1'";
    assert_eq!(row(&mut db, version)?, "1");
    for turn in 1..=7 {
        assert!(rotate(&mut db)?);
        warm.execute(&insert, &[&turn])?;
        assert_eq!(
            tables_of(&mut db, &turn.to_string())?,
            [format!("pgq.event_1_{}", turn % 3)]
        );
        assert_eq!(arrived(&mut db)?.len(), if turn == 1 { 2 } else { 1 });
        pass(&mut db)?;
    }
    assert_eq!(row(&mut db, version)?, "1");
    Ok(())
}

#[test]
fn transactions_from_before_a_switch_lose_nothing() -> TestResult {
    for (begin, completes) in [
        // It has an id, and batches look for its events in both tables.
        ("begin; insert into t values (1)", true),
        // Neither an id nor a snapshot: it takes up the switch.
        ("begin", true),
        // All locks of the statement, without an id.
        (
            "begin; insert into t select 1 where false; update t set a = a where false",
            true,
        ),
        // A snapshot that does not see the switch.
        (
            "begin isolation level repeatable read; select count(*) from t",
            false,
        ),
        // It has taken up what there was when it asked for a number, which was before it got an id.
        (
            "begin; select nextval('pgq.event_1_id_seq'); insert into t select 1 where false",
            false,
        ),
        (
            "begin; savepoint s; select nextval('pgq.event_1_id_seq'); rollback to s; \
             insert into t select 1 where false",
            false,
        ),
    ] {
        let (cluster, mut db) = captured()?;
        let mut old = cluster.connect("postgres")?;
        old.batch_execute("insert into t values (0)")?;
        pass(&mut db)?;
        old.batch_execute(begin)?;
        assert_eq!(rotate(&mut db)?, completes, "{begin}");
        if !completes {
            let blocker = match begin.contains("isolation") {
                true => "snapshot",
                false => "transaction",
            };
            assert_eq!(
                row(
                    &mut db,
                    "select rotation_blocker, rotation_blocker_name from pgq.get_queue_health('q')"
                )?,
                format!("{blocker}|{}", pid(&mut old)?),
                "{begin}"
            );
        }
        for _ in 0..2 {
            tick(&mut db)?;
            consume(&mut db)?;
        }
        old.batch_execute("insert into t values (2); savepoint s; insert into t values (3)")?;
        tick(&mut db)?;
        assert_eq!(consume(&mut db)?, Some(Vec::new()), "{begin}");
        old.batch_execute("commit")?;
        let mut expected = vec!["(id,a) values ('2',null)", "(id,a) values ('3',null)"];
        if begin.contains("(1)") {
            expected.insert(0, "(id,a) values ('1',null)");
        }
        assert_eq!(arrived(&mut db)?, expected, "{begin}");
        db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
        pass(&mut db)?;
        assert!(rotate(&mut db)?, "{begin}");
        old.batch_execute("insert into t values (4)")?;
        assert_eq!(tables_of(&mut db, "4")?, ["pgq.event_1_2"], "{begin}");
        assert_eq!(arrived(&mut db)?.len(), 1, "{begin}");
    }
    Ok(())
}

#[test]
fn writers_lose_nothing_while_tables_are_switched() -> TestResult {
    let (cluster, mut db) = captured()?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    let stop = AtomicBool::new(false);
    let (written, mut seen) = thread::scope(|scope| -> TestResult<(usize, Vec<String>)> {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (cluster, stop) = (&cluster, &stop);
                scope.spawn(move || -> Result<usize, String> {
                    let mut db = cluster.connect("postgres").map_err(|e| e.to_string())?;
                    let mut run =
                        |sql: &str| db.batch_execute(sql).map_err(|e| format!("{sql}: {e:?}"));
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let id = writer * 1_000_000 + count * 10;
                        // By turns alone, in a transaction, and late in one that has written nothing before.
                        match count % 3 {
                            0 => run(&format!("insert into t values ({id}), ({id} + 1)"))?,
                            1 => run(&format!(
                                "begin; insert into t values ({id}); \
                                 insert into t values ({id} + 1); commit"
                            ))?,
                            _ => run(&format!(
                                "begin; select count(*) from pgq.tick; update t set a = a where false; \
                                 insert into t values ({id}), ({id} + 1); commit"
                            ))?,
                        }
                        count += 1;
                    }
                    Ok(2 * count)
                })
            })
            .collect();
        let mut seen = Vec::new();
        let mut switches = 0;
        let mut work = || -> TestResult {
            while switches < 40 {
                let before = row(&mut db, "select queue_switch_step1 from pgq.queue")?;
                db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
                db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
                if row(&mut db, "select queue_switch_step1 from pgq.queue")? != before {
                    switches += 1;
                }
                seen.extend(arrived(&mut db)?);
            }
            Ok(())
        };
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        let mut written = 0;
        for writer in writers {
            written += writer.join().expect("a writer does not panic")?;
        }
        worked?;
        Ok((written, seen))
    })?;
    seen.extend(arrived(&mut db)?);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (written, written));
    Ok(())
}

#[test]
fn whoever_changes_the_queue_captures_follow() -> TestResult {
    let (cluster, mut db) = captured()?;
    let mut warm = cluster.connect("postgres")?;
    insert_row(&mut warm, 0)?;
    // A replica does not run most triggers.
    db.batch_execute(
        "set session_replication_role = replica;
         update pgq.queue set queue_cur_table = 2;
         reset session_replication_role",
    )?;
    insert_row(&mut warm, 1)?;
    assert_eq!(tables_of(&mut db, "1")?, ["pgq.event_1_2"]);
    // In the transaction itself, and back.
    warm.batch_execute(
        "begin; update pgq.queue set queue_cur_table = 1; insert into t values (2)",
    )?;
    assert_eq!(tables_of(&mut warm, "2")?, ["pgq.event_1_1"]);
    warm.batch_execute("rollback; insert into t values (3)")?;
    assert_eq!(tables_of(&mut db, "3")?, ["pgq.event_1_2"]);
    // Under another name it is not the queue that the capture was made for.
    db.batch_execute("update pgq.queue set queue_name = 'other'")?;
    assert_eq!(
        refusal(&mut warm, "insert into t values (4)")?,
        "No such queue"
    );
    db.batch_execute("update pgq.queue set queue_name = 'q'")?;
    insert_row(&mut warm, 4)?;
    // Between the look at the queue and its event a transaction may stop it.
    db.batch_execute(
        "create function stop() returns trigger language plpgsql as $$
         begin
             update pgq.queue set queue_disable_insert = true;
             return new;
         end $$;
         create trigger stop before insert on t for each row execute function stop()",
    )?;
    assert_eq!(
        refusal(&mut warm, "insert into t values (5)")?,
        "Insert into queue disallowed"
    );
    Ok(())
}

#[test]
fn maintenance_makes_up_for_changes_without_the_trigger() -> TestResult {
    let (cluster, mut db) = captured()?;
    let mut warm = cluster.connect("postgres")?;
    insert_row(&mut warm, 0)?;
    let functions = "select proname from pg_proc where proname ~ '^current_table_' order by 1";
    db.batch_execute(
        "alter table pgq.queue disable trigger queue_changed;
         update pgq.queue set queue_cur_table = 1;
         select pgq.create_queue('old');
         alter table pgq.queue enable always trigger queue_changed",
    )?;
    assert_eq!(rows(&mut db, functions)?, ["current_table_1"]);
    db.batch_execute("select pgq.refresh_captures()")?;
    insert_row(&mut warm, 1)?;
    assert_eq!(tables_of(&mut db, "1")?, ["pgq.event_1_1"]);
    assert_eq!(
        rows(&mut db, functions)?,
        ["current_table_1", "current_table_2"]
    );

    // A queue that was there before there were such functions.
    db.batch_execute(
        "drop function pgq_gen.current_table_2;
         create table u (id int primary key);
         select pgq.create_capture('u', 'capture', 'sql', 'row', array['old'])",
    )?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    db.batch_execute("insert into u values (1)")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.event_2_0")?, "1");

    // The function of a queue that is gone stays until nobody calls it.
    db.batch_execute("select pgq.drop_queue('old'); select pgq.refresh_captures()")?;
    assert_eq!(
        refusal(&mut db, "insert into u values (2)")?,
        "the slow way"
    );
    assert_eq!(
        rows(&mut db, functions)?,
        ["current_table_1", "current_table_2"]
    );
    db.batch_execute("select pgq.drop_capture('u', 'capture'); select pgq.refresh_captures()")?;
    assert_eq!(rows(&mut db, functions)?, ["current_table_1"]);
    Ok(())
}

#[test]
fn a_restored_database_knows_its_current_tables() -> TestResult {
    let (cluster, mut db) = captured()?;
    if !has_program(&cluster, "pg_dump") {
        return Ok(());
    }
    db.batch_execute("update pgq.queue set queue_cur_table = 2")?;
    let target = crate::support::cluster_without_pgq()?;
    crate::support::copy_database(&cluster, &target)?;
    let mut copy = target.connect("postgres")?;
    // Before the captures know their tables again, and after that.
    insert_row(&mut copy, 1)?;
    copy.batch_execute("select pgq.refresh_captures()")?;
    copy.batch_execute(FORBID_SLOW_WAY)?;
    insert_row(&mut copy, 2)?;
    assert_eq!(tables_of(&mut copy, "1|2")?, ["pgq.event_1_2"]);
    Ok(())
}

#[test]
fn a_writer_whose_owner_may_not_see_him_does_not_keep_a_switch_open() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.connect("postgres")?.batch_execute(
        "create role keeper login createrole; grant create on database postgres to keeper;
         grant create on schema public to keeper",
    )?;
    let mut db = connect_as(&cluster, "keeper")?;
    run_scripts(&mut db)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute(
        "select pgq.register_consumer('q', 'c'), pgq.set_queue_config('q', 'rotation_period', '0');
         create table t (id int primary key, a text);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q'])",
    )?;
    pass(&mut db)?;
    let mut writer = cluster.connect("postgres")?;
    writer.batch_execute("begin; savepoint s; insert into t values (1)")?;
    assert!(rotate(&mut db)?);
    writer.batch_execute("insert into t values (2); commit")?;
    assert_eq!(arrived(&mut db)?.len(), 2);
    pass(&mut db)?;
    // What he may not see of one without an id, he takes for the worst.
    writer.batch_execute("begin; select nextval('pgq.event_1_id_seq')")?;
    assert!(!rotate(&mut db)?);
    Ok(())
}
