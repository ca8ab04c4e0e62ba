//! Upgrading, adopting and removing PgQ with the program, under load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use testkit::{TestResult, wait_until};

use crate::site::{LONG, Site};

const VERSION_2: &str = include_str!("../../../pgq/tests/sql/fixtures/version_2.sql");

/// Log lines without time and process id.
fn messages(log: &str) -> Vec<&str> {
    log.lines()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line))
        .collect()
}

fn said(site: &Site, args: &[&str]) -> TestResult<Vec<String>> {
    let before = site.log()?.len();
    site.succeed(&[&["t.ini"], args].concat())?;
    let log = site.log()?;
    Ok(messages(&log[before..])
        .into_iter()
        .map(str::to_owned)
        .collect())
}

#[test]
fn upgrade_brings_version_2_up_to_date_once_and_never_goes_back() -> TestResult {
    let site = Site::bare()?;
    let mut db = site.db()?;
    db.batch_execute(VERSION_2)?;
    db.batch_execute(
        "select pgq.create_queue('q'); create role app; create table t (id int primary key);
         grant insert, select on t to app",
    )?;
    assert_eq!(
        said(&site, &["install"])?,
        [
            "INFO txid_current_snapshot is installed",
            "INFO pgq is installed",
            "INFO pgq_ext is installed",
            "WARNING pgq is of version 2.1.8, older than 3.6.0; to upgrade it: pgqadm INI upgrade",
            "WARNING pgq_ext is of version unknown, older than 3.3; to upgrade it: pgqadm INI upgrade",
        ]
    );
    assert_eq!(
        said(&site, &["upgrade"])?,
        [
            "INFO Upgrading pgq from 2.1.8 to 3.6.0",
            "INFO Upgrading pgq_ext from unknown to 3.3",
        ]
    );
    assert_eq!(
        said(&site, &["upgrade"])?,
        ["INFO pgq is up to date", "INFO pgq_ext is up to date"]
    );
    assert_eq!(
        site.succeed(&["t.ini", "config"])?.stdout.lines().next(),
        Some("q")
    );

    // The roles come when asked for, and who will be refused is named.
    db.batch_execute(
        "create trigger capture after insert on t for each row execute function pgq.sqltriga('q');
         set role app; insert into t values (1); reset role",
    )?;
    assert_eq!(
        said(&site, &["upgrade", "--new-grants"])?,
        [
            "INFO pgq is up to date",
            "INFO Granting pgq: its roles decide who may use it",
            "INFO pgq_ext is up to date",
            "INFO Granting pgq_ext: its roles decide who may use it",
            "WARNING app may write to t, which feeds a queue, and will be refused; \
             to let a role do it: grant pgq_writer to it",
        ]
    );
    let insert = "set role app; insert into t values (2)";
    assert!(db.batch_execute(insert).is_err());
    assert_eq!(said(&site, &["upgrade", "--old-grants"])?.len(), 4);
    db.batch_execute("reset role; set role app; insert into t values (2); reset role")?;

    db.batch_execute(
        "create or replace function pgq.version() returns text language sql as $$ select '3.10'::text $$",
    )?;
    let error = site.fail(&["t.ini", "upgrade"])?;
    assert!(
        error.contains("pgq is of version 3.10, newer than 3.6.0, and there is no way back"),
        "{error}"
    );
    Ok(())
}

#[test]
fn uninstall_names_what_would_be_missed_and_takes_it_when_forced() -> TestResult {
    let site = Site::new()?;
    assert!(said(&site, &["upgrade"])?.contains(&"INFO pgq is up to date".to_owned()));
    site.eager_queue("q")?;
    site.succeed(&["t.ini", "register", "q", "c"])?;
    let mut db = site.db()?;
    db.batch_execute(
        "create table t (id int primary key);
         create trigger capture after insert on t for each row execute function pgq.sqltriga('q');
         create view mine as select * from pgq.queue;
         select pgq_ext.set_last_tick('elsewhere', 1);
         insert into pgq_ext.bad_event (consumer, queue, ev_id, ev_time, reason)
         values ('mover', 'far', 1, now(), 'x'), ('mover', 'far', 2, now(), 'y')",
    )?;
    let error = site.fail(&["t.ini", "uninstall"])?;
    for line in [
        "In use: trigger capture on t",
        "In use: view mine",
        "In use: consumer c on q",
        "In use: position of elsewhere",
        "In use: events put aside by mover on far",
        "to remove it all the same: pgqadm INI uninstall --force",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    db.batch_execute("insert into t values (1)")?;
    assert_eq!(
        said(&site, &["uninstall", "--force"])?,
        [
            "INFO Dropping trigger capture on t",
            "INFO Dropping view mine",
            "INFO Dropping consumer c on q",
            "INFO Dropping position of elsewhere",
            "INFO Dropping events put aside by mover on far",
            "INFO Uninstalling PgQ",
        ]
    );
    db.batch_execute("insert into t values (2)")?;
    let error = site.fail(&["t.ini", "uninstall"])?;
    assert!(error.contains("PgQ is not installed"), "{error}");
    // An empty one goes without a word, and everything can come back.
    site.succeed(&["t.ini", "install"])?;
    site.succeed(&["t.ini", "create", "q"])?;
    assert_eq!(said(&site, &["uninstall"])?, ["INFO Uninstalling PgQ"]);
    Ok(())
}

/// A site with the extension of PgQ 3; `None`, with a word, where the server has none.
#[expect(clippy::print_stderr, reason = "the reader of the results has to know")]
fn site_with_extension() -> TestResult<Option<Site>> {
    let site = Site::bare()?;
    let mut db = site.db()?;
    let versions =
        "select from pg_available_extension_versions where name = 'pgq' and version = '3.5'";
    if db.query(versions, &[])?.is_empty() {
        eprintln!("skipped: this server has no extension pgq of PgQ 3");
        return Ok(None);
    }
    db.batch_execute("create extension pgq")?;
    Ok(Some(site))
}

#[test]
fn an_extension_of_others_is_left_alone_with_the_reason() -> TestResult {
    let Some(site) = site_with_extension()? else {
        return Ok(());
    };
    assert_eq!(
        said(&site, &["install"])?[1..],
        [
            "INFO pgq is installed",
            "WARNING pgq belongs to the extension pgq 3.5, which is not this program's: it may lack functions \
             and fixes",
            "INFO Installing pgq_ext",
            "INFO   Reading from pgq_ext/install.sql",
            "WARNING to take pgq over with all that it holds: pgqadm INI upgrade --adopt",
        ]
    );
    let error = site.fail(&["t.ini", "upgrade"])?;
    assert!(
        error.contains(
            "pgq belongs to the extension pgq 3.5, which is not this program's: it may lack functions and \
             fixes; to take it over with its queues and consumers: pgqadm INI upgrade --adopt"
        ),
        "{error}"
    );
    let error = site.fail(&["t.ini", "uninstall"])?;
    assert!(error.contains("drop extension ... cascade"), "{error}");
    assert_eq!(
        site.db()?
            .query_one("select pgq.version()", &[])?
            .get::<_, String>(0),
        "3.5"
    );
    Ok(())
}

/// Repeats `step` until told to stop; returns how often it went well. The first failure ends it.
fn repeat(stop: &AtomicBool, mut step: impl FnMut(u32) -> TestResult) -> TestResult<u32> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        step(count)?;
        count += 1;
    }
    Ok(count)
}

/// Finishes a batch of the consumer in one transaction, with the statements that clients prepare; counts
/// events by content, some of them only when they come again.
fn consume(
    db: &mut Client,
    statements: &[postgres::Statement; 4],
    consumer: &str,
    seen: &mut BTreeMap<String, u32>,
) -> TestResult<bool> {
    let [next, events, retry, finish] = statements;
    let mut tx = db.transaction()?;
    let Some(batch): Option<i64> = tx.query_one(next, &[&"q", &consumer])?.get(0) else {
        tx.commit()?;
        return Ok(false);
    };
    for row in tx.query(events, &[&batch])? {
        let (id, again): (i64, Option<i32>) = (row.get("ev_id"), row.get("ev_retry"));
        let data: String = row.get("ev_data");
        if id % 10 == 0 && again.is_none() {
            tx.query(retry, &[&batch, &id, &0])?;
        } else {
            *seen.entry(data).or_default() += 1;
        }
    }
    tx.query(finish, &[&batch])?;
    tx.commit()?;
    Ok(true)
}

fn prepared(db: &mut Client) -> TestResult<[postgres::Statement; 4]> {
    Ok([
        db.prepare("select pgq.next_batch($1, $2)")?,
        db.prepare("select * from pgq.get_batch_events($1)")?,
        db.prepare("select pgq.event_retry($1, $2, $3::integer)")?,
        db.prepare("select pgq.finish_batch($1)")?,
    ])
}

#[test]
fn an_extension_is_adopted_under_producers_and_consumers_that_notice_nothing() -> TestResult {
    let Some(site) = site_with_extension()? else {
        return Ok(());
    };
    let mut db = site.db()?;
    db.batch_execute(
        "select pgq.create_queue('q'); select pgq.create_queue('idle');
         select pgq.register_consumer('q', 'c'), pgq.register_consumer('q', 'd'), pgq.register_consumer('idle', 'slow');
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0' where queue_name = 'q';
         create table t (id int primary key, who text);
         create trigger capture after insert on t for each row execute function pgq.sqltriga('q');
         create table u (id int primary key, who text);
         create trigger capture after insert on u for each row execute function pgq.logutriga('q')",
    )?;
    // A batch that is open all the while.
    db.batch_execute("select pgq.insert_event('idle', 'type', 'open')")?;
    db.batch_execute("select pgq.ticker('idle')")?;
    let open: i64 = db
        .query_one("select pgq.next_batch('idle', 'slow')", &[])?
        .get(0);

    let (producing, consuming) = (AtomicBool::new(false), AtomicBool::new(false));
    let (inserted, mut seen) = thread::scope(|scope| -> TestResult<_> {
        let (site, producing, consuming) = (&site, &producing, &consuming);
        let producers: Vec<_> = (0..2)
            .map(|who| {
                scope.spawn(move || -> TestResult<u32> {
                    let mut db = site.db()?;
                    let event = db.prepare("select pgq.insert_event('q', 'type', $1)")?;
                    let row = db.prepare(match who {
                        0 => "insert into t values ($1, 'producer')",
                        _ => "insert into u values ($1, 'producer')",
                    })?;
                    repeat(producing, |i| {
                        let mut tx = db.transaction()?;
                        tx.query(&event, &[&format!("{who}:{i}")])?;
                        tx.execute(&row, &[&i32::try_from(i)?])?;
                        Ok(tx.commit()?)
                    })
                })
            })
            .collect();
        let consumers: Vec<_> = ["c", "d"]
            .map(|consumer| {
                scope.spawn(move || -> TestResult<BTreeMap<String, u32>> {
                    let mut db = site.db()?;
                    let statements = prepared(&mut db)?;
                    let mut seen = BTreeMap::new();
                    repeat(consuming, |_| {
                        consume(&mut db, &statements, consumer, &mut seen)?;
                        Ok(())
                    })?;
                    Ok(seen)
                })
            })
            .into();
        let daemon = scope.spawn(move || -> TestResult<u32> {
            let mut db = site.db()?;
            let ticker = db.prepare("select pgq.ticker()")?;
            repeat(consuming, |i| {
                db.query(&ticker, &[])?;
                if i % 10 == 0 {
                    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
                    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
                    db.batch_execute("select pgq.maint_retry_events()")?;
                }
                Ok(())
            })
        });

        let mut events = 0;
        let mut grown = |by: i64| {
            wait_until("events", LONG, || {
                let now: i64 = site
                    .db()?
                    .query_one("select last_value from pgq.event_1_id_seq", &[])?
                    .get(0);
                let enough = now >= events + by;
                if enough {
                    events = now;
                }
                Ok(enough)
            })
        };
        let adopted = grown(500).and_then(|()| {
            let lines = said(site, &["upgrade", "--adopt"])?;
            assert_eq!(
                lines,
                [
                    "INFO Taking pgq out of the extension pgq 3.5",
                    "INFO Upgrading pgq from 3.5 to 3.6.0"
                ]
            );
            // That of the extension may lose an event when tables are switched.
            site.db()?.batch_execute(
                "update pgq.queue set queue_rotation_period = '0' where queue_name = 'q'",
            )?;
            grown(500)
        });
        producing.store(true, Ordering::Relaxed);
        let mut inserted = Vec::new();
        for producer in producers {
            inserted.push(producer.join().expect("producers do not panic")?);
        }
        consuming.store(true, Ordering::Relaxed);
        daemon.join().expect("the daemon does not panic")?;
        let mut seen = Vec::new();
        for consumer in consumers {
            seen.push(consumer.join().expect("consumers do not panic")?);
        }
        adopted?;
        Ok((inserted, seen))
    })?;

    // What is left, and what comes again.
    for _ in 0..2 {
        let moved = "select pgq.maint_retry_events()";
        while db.query_one(moved, &[])?.get::<_, i32>(0) > 0 {}
        db.batch_execute("select pgq.force_tick('q')")?;
        db.batch_execute("select pgq.ticker('q')")?;
        let statements = prepared(&mut db)?;
        for (consumer, seen) in ["c", "d"].iter().zip(&mut seen) {
            while consume(&mut db, &statements, consumer, seen)? {}
        }
    }
    let mut expected = BTreeMap::new();
    for (who, count) in inserted.iter().enumerate() {
        for i in 0..*count {
            expected.insert(format!("{who}:{i}"), 1);
            expected.insert(
                match who {
                    0 => format!("(id,who) values ('{i}','producer')"),
                    _ => format!("id={i}&who=producer"),
                },
                1,
            );
        }
    }
    for seen in &seen {
        assert!(seen == &expected, "{} of {}", seen.len(), expected.len());
    }
    let row = db.query_one(
        "select (select count(*) from pg_extension where extname = 'pgq'), \
         (select sub_batch from pgq.subscription where sub_batch is not null), \
         (select string_agg(ev_data, ',') from pgq.get_batch_events($1)), pgq.version()",
        &[&open],
    )?;
    assert_eq!(
        (row.get(0), row.get(1), row.get(2), row.get(3)),
        (0_i64, open, "open", "3.6.0")
    );
    // And the daemons of this project take over.
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_tick()?;
    ticker.signal(rustix::process::Signal::TERM)?;
    ticker.wait(Duration::from_secs(30))?;
    Ok(())
}
