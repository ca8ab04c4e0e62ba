//! Switching tables: nothing is lost, whoever writes when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use testkit::{Cluster, TestResult, wait_until};

use crate::support::{
    arrived, cluster, cluster_with_consumer, consume, consume_as, eager_queue, insert, install,
    pid, refusal, row, rows, tick, wait_for_lock,
};

/// A queue whose rotation period is always over, with its consumer beyond the creation.
fn restless() -> TestResult<(Cluster, Client)> {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    tick(&mut db)?;
    consume(&mut db)?;
    Ok((cluster, db))
}

fn step1(db: &mut Client) -> TestResult {
    assert_eq!(row(db, "select pgq.maint_rotate_tables_step1('q')")?, "0");
    Ok(())
}

fn step2(db: &mut Client) -> TestResult {
    assert_eq!(row(db, "select pgq.maint_rotate_tables_step2()")?, "0");
    Ok(())
}

/// Number of the table in use, and whether the last switch is complete.
fn state(db: &mut Client) -> TestResult<String> {
    row(
        db,
        "select queue_cur_table, queue_switch_step2 is not null from pgq.queue where queue_name = 'q'",
    )
}

#[test]
fn tables_are_used_in_a_ring_of_any_size() -> TestResult {
    for size in [2, 3, 5_usize] {
        let (_cluster, mut db) = cluster()?;
        db.batch_execute(&format!(
            "alter table pgq.queue alter queue_ntables set default {size}"
        ))?;
        eager_queue(&mut db, "q")?;
        db.batch_execute(
            "select pgq.register_consumer('q', 'c');
             select pgq.set_queue_config('q', 'rotation_period', '0')",
        )?;
        for turn in 0..2 * size {
            insert(&mut db, &turn.to_string())?;
            assert_eq!(arrived(&mut db)?, [turn.to_string()]);
            // Only a tick after the last switch lets the next one happen.
            tick(&mut db)?;
            consume(&mut db)?;
            step1(&mut db)?;
            assert_eq!(state(&mut db)?, format!("{}|f", (turn + 1) % size));
            step1(&mut db)?;
            step2(&mut db)?;
            assert_eq!(state(&mut db)?, format!("{}|t", (turn + 1) % size));
            assert_eq!(
                row(&mut db, "select pgq.current_event_table('q')")?,
                format!("pgq.event_1_{}", (turn + 1) % size)
            );
            // The ring holds the last turns, each in its table; the table in use is empty.
            let kept: Vec<String> = ((turn + 2).saturating_sub(size)..=turn)
                .map(|turn| format!("pgq.event_1_{}|{turn}", turn % size))
                .collect();
            assert_eq!(
                rows(
                    &mut db,
                    "select tableoid::regclass, ev_data from pgq.event_1 order by ev_id"
                )?,
                kept
            );
        }
    }
    Ok(())
}

#[test]
fn a_slow_consumer_holds_rotation_until_it_leaves() -> TestResult {
    let (_cluster, mut db) = restless()?;
    db.batch_execute("select pgq.register_consumer('q', 'slow')")?;
    for turn in 0..3 {
        insert(&mut db, "x")?;
        tick(&mut db)?;
        while consume(&mut db)?.is_some() {}
        step1(&mut db)?;
        step2(&mut db)?;
        // The first switch needs nothing of the table it truncates.
        assert_eq!(state(&mut db)?, "1|t", "turn {turn}");
    }
    db.batch_execute("select pgq.unregister_consumer('q', 'slow')")?;
    step1(&mut db)?;
    assert_eq!(state(&mut db)?, "2|f");
    Ok(())
}

#[test]
fn a_batch_reads_the_same_before_and_after_a_switch() -> TestResult {
    let (_cluster, mut db) = restless()?;
    insert(&mut db, "old table")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let events = format!("select * from pgq.get_batch_events({batch})");
    let before = rows(&mut db, &events)?;
    step1(&mut db)?;
    assert_eq!(rows(&mut db, &events)?, before);
    step2(&mut db)?;
    assert_eq!(rows(&mut db, &events)?, before);
    // It ended before the switch, and need not look into the new table.
    let tables = |batch: &str| format!("select pgq.batch_event_tables({batch})");
    assert_eq!(rows(&mut db, &tables(&batch))?, ["pgq.event_1_0"]);
    assert_eq!(consume(&mut db)?, Some(vec!["old table".to_owned()]));

    // The first batch after the switch begins before it, the next one does not.
    for looked_into in [&["pgq.event_1_0", "pgq.event_1_1"][..], &["pgq.event_1_1"]] {
        tick(&mut db)?;
        let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        assert_eq!(rows(&mut db, &tables(&batch))?, looked_into);
        assert_eq!(consume(&mut db)?, Some(vec![]));
    }

    // A batch on both sides of the next switch.
    insert(&mut db, "one side")?;
    step1(&mut db)?;
    assert_eq!(state(&mut db)?, "2|f");
    insert(&mut db, "other side")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        rows(&mut db, &tables(&batch))?,
        ["pgq.event_1_1", "pgq.event_1_2"]
    );
    assert_eq!(
        consume(&mut db)?,
        Some(vec!["one side".to_owned(), "other side".to_owned()])
    );
    Ok(())
}

#[test]
fn a_writer_with_a_snapshot_from_before_the_switch_loses_nothing() -> TestResult {
    for isolation in ["repeatable read", "serializable"] {
        let (cluster, mut db) = restless()?;
        let mut old = cluster.connect("postgres")?;
        old.batch_execute(&format!("begin isolation level {isolation}; select 1"))?;
        step1(&mut db)?;
        step2(&mut db)?;
        assert_eq!(state(&mut db)?, "1|f", "the switch is complete too early");
        tick(&mut db)?;
        consume(&mut db)?;
        insert(&mut old, "late")?;
        old.batch_execute("commit")?;
        step2(&mut db)?;
        assert_eq!(state(&mut db)?, "1|t");
        assert_eq!(arrived(&mut db)?, ["late"]);
    }
    Ok(())
}

#[test]
fn a_loader_that_asked_for_the_table_before_the_switch_loses_nothing() -> TestResult {
    let (cluster, mut db) = restless()?;
    let mut loader = cluster.connect("postgres")?;
    let table = row(&mut loader, "begin; select pgq.current_event_table('q')")?;
    step1(&mut db)?;
    step2(&mut db)?;
    for _ in 0..2 {
        tick(&mut db)?;
        consume(&mut db)?;
    }
    assert_eq!(table, "pgq.event_1_0");
    let mut copy = loader.copy_in(&format!(
        "copy {table} (ev_time, ev_type, ev_data) from stdin"
    ))?;
    std::io::Write::write_all(&mut copy, b"2020-01-01\tcopied\tlate\n")?;
    copy.finish()?;
    loader.batch_execute("commit")?;
    assert_eq!(arrived(&mut db)?, ["late"]);
    Ok(())
}

#[test]
fn a_prepared_writer_from_before_the_switch_loses_nothing() -> TestResult {
    for late in [false, true] {
        let cluster = Cluster::builder()
            .setting("max_prepared_transactions", "1")
            .start()?;
        let mut db = install(&cluster)?;
        eager_queue(&mut db, "q")?;
        db.batch_execute(
            "select pgq.register_consumer('q', 'c');
             select pgq.set_queue_config('q', 'rotation_period', '0')",
        )?;
        assert!(arrived(&mut db)?.is_empty());
        let mut writer = cluster.connect("postgres")?;
        writer.batch_execute("begin isolation level repeatable read; select 1")?;
        let write = "select pgq.insert_event('q', 't', 'prepared'); prepare transaction 'p'";
        if late {
            step1(&mut db)?;
            step2(&mut db)?;
            assert_eq!(state(&mut db)?, "1|f");
            writer.batch_execute(write)?;
        } else {
            writer.batch_execute(write)?;
            step1(&mut db)?;
        }
        // Ready to commit, it has its id: the switch can be completed.
        step2(&mut db)?;
        assert_eq!(state(&mut db)?, "1|t");
        assert!(arrived(&mut db)?.is_empty());
        db.batch_execute("commit prepared 'p'")?;
        assert_eq!(
            row(&mut db, "select tableoid::regclass from pgq.event_1")?,
            "pgq.event_1_0"
        );
        assert_eq!(arrived(&mut db)?, ["prepared"]);
    }
    Ok(())
}

#[test]
fn both_steps_in_one_transaction_leave_the_switch_open() -> TestResult {
    let (_cluster, mut db) = restless()?;
    db.batch_execute(
        "begin; select pgq.maint_rotate_tables_step1('q'); \
         select pgq.maint_rotate_tables_step2(); commit",
    )?;
    assert_eq!(state(&mut db)?, "1|f");
    // Without the second step there is no further switch, and nothing is missed.
    insert(&mut db, "a")?;
    assert_eq!(arrived(&mut db)?, ["a"]);
    step1(&mut db)?;
    assert_eq!(state(&mut db)?, "1|f");
    step2(&mut db)?;
    assert_eq!(state(&mut db)?, "1|t");
    Ok(())
}

#[test]
fn a_reader_of_the_next_table_postpones_the_switch() -> TestResult {
    let (cluster, mut db) = restless()?;
    let mut reader = cluster.connect("postgres")?;
    reader.batch_execute("begin; select from pgq.event_1_1")?;
    let ticks = rows(&mut db, "select tick_id from pgq.tick order by 1")?;
    db.batch_execute("set statement_timeout = '20s'")?;
    step1(&mut db)?;
    assert_eq!(state(&mut db)?, "0|t");
    assert_eq!(
        rows(&mut db, "select tick_id from pgq.tick order by 1")?,
        ticks
    );
    reader.batch_execute("commit")?;
    step1(&mut db)?;
    assert_eq!(state(&mut db)?, "1|f");
    Ok(())
}

#[test]
fn two_maintainers_at_once_switch_once() -> TestResult {
    let (cluster, mut db) = restless()?;
    let mut other = cluster.connect("postgres")?;
    let pid = crate::support::pid(&mut other)?;
    db.batch_execute("begin; select pgq.maint_rotate_tables_step1('q')")?;
    thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| row(&mut other, "select pgq.maint_rotate_tables_step1('q')"));
        let mut watcher = cluster.connect("postgres")?;
        crate::support::wait_for_lock(&mut watcher, &pid)?;
        db.batch_execute("commit")?;
        assert_eq!(
            second.join().expect("the other session does not panic")?,
            "0"
        );
        Ok(())
    })?;
    assert_eq!(state(&mut db)?, "1|f");
    Ok(())
}

#[test]
fn a_second_maintainer_completes_no_switch_that_is_not_the_one_it_saw() -> TestResult {
    let (cluster, mut db) = restless()?;
    db.batch_execute("select pgq.unregister_consumer('q', 'c')")?;
    // While it waits the first one completes the switch, or goes on to the next one as well.
    for (goes_on, expected) in [(false, "1|t"), (true, "2|f")] {
        if state(&mut db)? != "1|f" {
            db.batch_execute("update pgq.queue set queue_cur_table = 0")?;
            step1(&mut db)?;
        }
        let mut other = cluster.connect("postgres")?;
        let other_pid = pid(&mut other)?;
        db.batch_execute("begin")?;
        step2(&mut db)?;
        if goes_on {
            step1(&mut db)?;
        }
        let switch = row(
            &mut db,
            "select queue_switch_step1, queue_switch_step2 from pgq.queue",
        )?;
        thread::scope(|scope| -> TestResult {
            let second = scope.spawn(|| row(&mut other, "select pgq.maint_rotate_tables_step2()"));
            wait_for_lock(&mut cluster.connect("postgres")?, &other_pid)?;
            db.batch_execute("commit")?;
            assert_eq!(second.join().expect("the other does not panic")?, "0");
            Ok(())
        })?;
        assert_eq!(state(&mut db)?, expected);
        assert_eq!(
            row(
                &mut db,
                "select queue_switch_step1, queue_switch_step2 from pgq.queue"
            )?,
            switch
        );
    }
    Ok(())
}

#[test]
fn ticks_outlive_one_switch_and_a_consumer_can_go_back_to_them() -> TestResult {
    let (_cluster, mut db) = restless()?;
    insert(&mut db, "first period")?;
    assert_eq!(arrived(&mut db)?, ["first period"]);
    step1(&mut db)?;
    step2(&mut db)?;
    assert_eq!(row(&mut db, "select min(tick_id) from pgq.tick")?, "1");
    assert_eq!(
        row(&mut db, "select pgq.register_consumer_at('q', 'c', 2)")?,
        "0"
    );
    assert_eq!(consume(&mut db)?, Some(vec!["first period".to_owned()]));
    tick(&mut db)?;
    consume(&mut db)?;
    step1(&mut db)?;
    step2(&mut db)?;
    assert_ne!(row(&mut db, "select min(tick_id) from pgq.tick")?, "1");
    assert_eq!(
        refusal(&mut db, "select pgq.register_consumer_at('q', 'c', 1)")?,
        "cannot reposition, tick not found: 1"
    );
    Ok(())
}

#[test]
fn a_queue_without_readers_and_ticks_loses_its_ticks_and_says_so() -> TestResult {
    let (_cluster, mut db) = restless()?;
    db.batch_execute("select pgq.unregister_consumer('q', 'c')")?;
    for _ in 0..2 {
        step1(&mut db)?;
        step2(&mut db)?;
    }
    assert_eq!(row(&mut db, "select count(*) from pgq.tick")?, "0");
    assert_eq!(
        row(
            &mut db,
            "select ticker_lag, ev_per_sec, ev_new, last_tick_id from pgq.get_queue_info('q')"
        )?,
        "NULL|NULL|NULL|NULL"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.register_consumer('q', 'c')")?,
        "No ticks for this queue.  Please run ticker on database."
    );
    tick(&mut db)?;
    assert_eq!(row(&mut db, "select pgq.register_consumer('q', 'c')")?, "1");
    Ok(())
}

#[test]
fn a_missing_tick_is_reported_by_consumer_and_maintenance() -> TestResult {
    let (_cluster, mut db) = restless()?;
    eager_queue(&mut db, "r")?;
    db.batch_execute(
        "select pgq.set_queue_config('r', 'rotation_period', '0');
         delete from pgq.tick where tick_queue = 1",
    )?;
    assert_eq!(
        refusal(&mut db, "select pgq.next_batch('q', 'c')")?,
        "PgQ corruption: Consumer c on queue q does not see tick 2"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.maint_rotate_tables_step1('q')")?,
        "queue q maint failure: tick 2 not found"
    );
    // Not that of other queues.
    assert_eq!(
        rows(
            &mut db,
            "select func_name, func_arg from pgq.maint_operations()"
        )?[..3],
        [
            "pgq.maint_rotate_tables_step1|q",
            "pgq.maint_rotate_tables_step1|r",
            "pgq.maint_rotate_tables_step2|NULL"
        ]
    );
    db.batch_execute("select pgq.maint_rotate_tables_step1('r')")?;
    step2(&mut db)?;
    assert_eq!(
        row(
            &mut db,
            "select queue_cur_table, queue_switch_step2 is not null from pgq.queue where queue_name = 'r'"
        )?,
        "1|t"
    );
    db.batch_execute("update pgq.queue set queue_switch_step1 = 90000000000")?;
    assert!(
        refusal(&mut db, "select pgq.maint_rotate_tables_step1('q')")?
            .starts_with("queue q maint failure: step1=90000000000, current=")
    );
    Ok(())
}

#[test]
fn maintenance_lists_what_is_due_in_order() -> TestResult {
    let cluster = Cluster::builder().setting("autovacuum", "off").start()?;
    let mut db = install(&cluster)?;
    let list = "select * from pgq.maint_operations()";
    let vacuum: Vec<String> = ["subscription", "consumer", "queue", "tick", "retry_queue"]
        .map(|table| format!("vacuum|pgq.{table}"))
        .into_iter()
        .chain(
            [
                "completed_tick",
                "completed_batch",
                "completed_event",
                "partial_batch",
            ]
            .map(|table| format!("vacuum|pgq_ext.{table}")),
        )
        .collect();
    let captures = ["pgq.refresh_captures|NULL".to_owned()];
    assert_eq!(rows(&mut db, list)?, [&vacuum[..], &captures].concat());

    db.batch_execute(
        "select pgq.create_queue('b'); select pgq.create_queue('a'); select pgq.create_queue('young');
         update pgq.queue set queue_switch_time = '2020-01-01' where queue_name in ('a', 'b');
         update pgq.queue set queue_extra_maint = '{x.one,x.two}' where queue_name = 'a';
         update pgq.queue set queue_extra_maint = '{}' where queue_name = 'b'",
    )?;
    let mut expected = vec![
        "pgq.maint_rotate_tables_step1|a".to_owned(),
        "pgq.maint_rotate_tables_step1|b".to_owned(),
        "pgq.maint_rotate_tables_step2|NULL".to_owned(),
        "x.one|a".to_owned(),
        "x.two|a".to_owned(),
    ];
    expected.extend(vacuum);
    expected.extend(captures);
    assert_eq!(rows(&mut db, list)?, expected);

    // A switch that is not complete is completed before the queue is looked at again.
    db.batch_execute(
        "select pgq.maint_rotate_tables_step1('a'), pgq.maint_rotate_tables_step1('b')",
    )?;
    assert_eq!(
        rows(&mut db, list)?[..1],
        ["pgq.maint_rotate_tables_step2|NULL"]
    );
    Ok(())
}

#[test]
fn with_nothing_due_maintenance_looks_after_captures_and_other_schemas() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    let list = "select * from pgq.maint_operations()";
    let captures = "pgq.refresh_captures|NULL";
    db.batch_execute("select pgq.create_queue('a'), pgq.create_queue('b')")?;
    assert_eq!(rows(&mut db, list)?, [captures]);
    // A switch that another round began is completed, though nothing is due.
    db.batch_execute("update pgq.queue set queue_switch_step2 = null where queue_name = 'b'")?;
    assert_eq!(
        rows(&mut db, list)?,
        ["pgq.maint_rotate_tables_step2|NULL", captures]
    );
    db.batch_execute("update pgq.queue set queue_switch_step2 = queue_switch_step1")?;

    // What SkyTools 3 has in the same database, where it has it.
    db.batch_execute(
        "create schema pgq_node; create schema londiste;
         create table pgq_node.node_info (queue_name text, node_type text);
         create table londiste.seq_info (queue_name text, seq_name text, local boolean);
         insert into pgq_node.node_info values ('b', 'root'), ('a', 'root'), ('branch', 'branch');
         insert into londiste.seq_info values ('b', 's', true), ('b', 't', true), ('a', 's', false),
             ('branch', 's', true)",
    )?;
    assert_eq!(rows(&mut db, list)?, [captures], "no functions, no calls");
    db.batch_execute(
        "create function pgq_node.maint_watermark(text) returns int language sql as 'select 0';
         create function londiste.root_check_seqs(text) returns int language sql as 'select 0';
         create function londiste.periodic_maintenance() returns int language sql as 'select 0'",
    )?;
    assert_eq!(
        rows(&mut db, list)?,
        [
            "pgq_node.maint_watermark|a",
            "pgq_node.maint_watermark|b",
            "londiste.root_check_seqs|b",
            "londiste.periodic_maintenance|NULL",
            captures,
        ]
    );
    Ok(())
}

#[test]
fn a_consumer_that_registers_during_rotation_gets_a_tick_that_stays() -> TestResult {
    let (cluster, mut db) = cluster()?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    // Without ticks in between, the next switch deletes those that there are.
    step1(&mut db)?;
    step2(&mut db)?;
    let mut late = cluster.connect("postgres")?;
    let late_pid = pid(&mut late)?;
    let mut observer = cluster.connect("postgres")?;
    db.batch_execute("begin")?;
    step1(&mut db)?;
    let registering = thread::spawn(move || -> Result<Client, String> {
        let error = refusal(&mut late, "select pgq.register_consumer('q', 'late')");
        match error.map_err(|error| error.to_string())? {
            text if text.starts_with("No ticks for this queue") => Ok(late),
            text => Err(text),
        }
    });
    wait_for_lock(&mut observer, &late_pid)?;
    db.batch_execute("commit")?;
    let mut late = registering.join().map_err(|_| "registering panicked")??;
    tick(&mut db)?;
    db.batch_execute("select pgq.register_consumer('q', 'late')")?;
    insert(&mut late, "first")?;
    tick(&mut db)?;
    assert_eq!(consume_as(&mut db, "late")?, Some(vec!["first".to_owned()]));
    Ok(())
}

#[test]
fn writers_who_come_and_go_do_not_keep_a_switch_open() -> TestResult {
    let (cluster, mut db) = restless()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> TestResult {
        // There is always one of them who has asked for a number and has no transaction id.
        let writers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| -> TestResult {
                    let mut db = cluster.connect("postgres")?;
                    while !stop.load(Ordering::SeqCst) {
                        db.batch_execute("begin; select nextval('pgq.event_1_id_seq')")?;
                        #[expect(clippy::disallowed_methods, reason = "a writer takes its time")]
                        thread::sleep(Duration::from_millis(30));
                        db.batch_execute("commit")?;
                    }
                    Ok(())
                })
            })
            .collect();
        let rotated = (1..=3).try_for_each(|turn| -> TestResult {
            wait_until("the switch", Duration::from_secs(30), || {
                tick(&mut db)?;
                consume(&mut db)?;
                step1(&mut db)?;
                step2(&mut db)?;
                Ok(state(&mut db)? == format!("{}|t", turn % 3))
            })
        });
        stop.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.join().expect("a writer does not panic")?;
        }
        rotated
    })
}
