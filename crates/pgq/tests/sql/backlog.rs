//! What gathered while nobody ticked comes in several batches, and in the order of one.

use std::collections::HashMap;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::support::{cluster, consume, insert, row, tick};

/// A queue `q` that divides backlogs of 40 events and more into batches of 20 and more, and the
/// consumer `c`.
fn patient_queue(db: &mut Client) -> TestResult {
    db.batch_execute(
        "select pgq.create_queue('q');
         select pgq.register_consumer('q', 'c');
         select pgq.set_queue_config('q', 'ticker_max_count', '1');
         select pgq.set_queue_config('q', 'rotation_period', '0')",
    )?;
    Ok(())
}

/// As if nobody had ticked for an hour.
fn age(db: &mut Client) -> TestResult {
    db.batch_execute("update pgq.tick set tick_time = tick_time - interval '1 hour'")?;
    Ok(())
}

fn insert_many(db: &mut Client, from: usize, count: usize) -> TestResult {
    for n in from..from + count {
        insert(db, &n.to_string())?;
    }
    Ok(())
}

/// All batches that there are.
fn batches(db: &mut Client) -> TestResult<Vec<Vec<String>>> {
    let mut batches = Vec::new();
    while let Some(batch) = consume(db)? {
        batches.push(batch);
    }
    Ok(batches)
}

fn numbers(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| n.to_string()).collect()
}

#[test]
fn a_backlog_comes_in_several_batches_in_its_order() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    // Not while somebody ticks.
    insert_many(&mut db, 0, 100)?;
    tick(&mut db)?;
    assert_eq!(batches(&mut db)?, [numbers(0, 100)]);

    insert_many(&mut db, 100, 200)?;
    age(&mut db)?;
    let newest = row(&mut db, "select pgq.ticker('q')")?;
    assert_eq!(row(&mut db, "select max(tick_id) from pgq.tick")?, newest);
    let found = batches(&mut db)?;
    assert_eq!(found.concat(), numbers(100, 200));
    assert!((5..=10).contains(&found.len()), "{found:?}");
    assert!(found.iter().all(|batch| batch.len() <= 60), "{found:?}");

    // Ticks follow each other in time, position and what they show, and none is of the future.
    assert_eq!(
        row(
            &mut db,
            "select count(*), bool_and(tick_time >= before.time), bool_and(tick_event_seq >= before.seq),
                    bool_and(tick_time <= now()),
                    bool_and(txid_snapshot_xmax(tick_snapshot) >= txid_snapshot_xmax(before.snapshot)),
                    count(*) filter (where tick_time < now() - interval '50 min') = 0
               from (select *, lag(row(tick_time, tick_event_seq, tick_snapshot)) over (order by tick_id) is null as first,
                            lag(tick_time) over w as time, lag(tick_event_seq) over w as seq,
                            lag(tick_snapshot) over w as snapshot
                       from pgq.tick window w as (order by tick_id)) before
              where tick_id > 2"
        )?
        .split_once('|')
        .map(|(_, rest)| rest),
        Some("t|t|t|t|t")
    );
    Ok(())
}

#[test]
fn a_transaction_that_wrote_all_along_keeps_its_place_in_the_order() -> TestResult {
    let (cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    let mut long = cluster.connect("postgres")?;
    long.batch_execute("begin; select txid_current()")?;
    insert_many(&mut db, 0, 100)?;
    insert(&mut long, "late")?;
    long.batch_execute("commit")?;
    insert_many(&mut db, 100, 100)?;
    age(&mut db)?;
    tick(&mut db)?;
    let found = batches(&mut db)?;
    let mut expected = numbers(0, 100);
    expected.push("late".to_owned());
    expected.extend(numbers(100, 100));
    assert_eq!(found.concat(), expected);
    // The transaction has the lowest id and wrote in the middle: only what follows is divided.
    assert!(found[0].len() > 100, "{found:?}");
    assert!(found.len() > 2, "{found:?}");
    Ok(())
}

#[test]
fn a_transaction_that_is_still_open_neither_prevents_the_division_nor_gets_lost() -> TestResult {
    let (cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    let mut long = cluster.connect("postgres")?;
    long.batch_execute("begin")?;
    insert(&mut long, "first of long")?;
    insert_many(&mut db, 0, 100)?;
    let mut second = cluster.connect("postgres")?;
    second.batch_execute("begin")?;
    insert(&mut second, "second")?;
    insert_many(&mut db, 100, 100)?;
    insert(&mut long, "last of long")?;
    age(&mut db)?;
    tick(&mut db)?;
    let found = batches(&mut db)?;
    assert_eq!(found.concat(), numbers(0, 200));
    assert!(found.len() > 4, "{found:?}");
    long.batch_execute("commit")?;
    insert(&mut db, "more")?;
    tick(&mut db)?;
    assert_eq!(
        batches(&mut db)?.concat(),
        ["first of long", "last of long", "more"]
    );
    second.batch_execute("commit")?;
    insert(&mut db, "end")?;
    tick(&mut db)?;
    assert_eq!(batches(&mut db)?.concat(), ["second", "end"]);
    Ok(())
}

#[test]
fn nothing_is_divided_below_a_switch_of_tables() -> TestResult {
    let (cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    insert(&mut db, "start")?;
    tick(&mut db)?;
    batches(&mut db)?;
    insert_many(&mut db, 0, 100)?;
    // It has its id from before the switch, and writes to the table of after.
    let mut early = cluster.connect("postgres")?;
    early.batch_execute("begin; select txid_current()")?;
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    insert_many(&mut db, 100, 100)?;
    // The switch is open.
    age(&mut db)?;
    db.batch_execute("begin; select pgq.ticker('q')")?;
    assert_eq!(row(&mut db, "select max(tick_id) from pgq.tick")?, "3");
    db.batch_execute("rollback")?;

    insert(&mut early, "early")?;
    early.batch_execute("commit")?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    assert_eq!(
        row(&mut db, "select queue_switch_step2 is null from pgq.queue")?,
        "f"
    );
    insert_many(&mut db, 200, 200)?;
    tick(&mut db)?;
    let lowest = row(
        &mut db,
        "select min(txid_snapshot_xmax(tick_snapshot)) > (select queue_switch_step2 from pgq.queue), count(*) > 3
           from pgq.tick where tick_id > 3",
    )?;
    assert_eq!(lowest, "t|t");
    // Read after one more switch: tables are found by the ticks.
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    let found = batches(&mut db)?;
    let mut expected = numbers(0, 200);
    expected.push("early".to_owned());
    expected.extend(numbers(200, 200));
    assert_eq!(found.concat(), expected);
    Ok(())
}

#[test]
fn a_backlog_with_retried_events_is_divided_and_brings_each_once() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    insert_many(&mut db, 0, 3)?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, ev_id, 0) from pgq.get_batch_events({batch})"
    ))?;
    db.batch_execute(&format!("select pgq.finish_batch({batch})"))?;
    insert_many(&mut db, 3, 100)?;
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "3");
    insert_many(&mut db, 103, 100)?;
    age(&mut db)?;
    tick(&mut db)?;
    let found = batches(&mut db)?;
    assert!(found.len() > 4, "{found:?}");
    let mut all = found.concat();
    all.sort_by_key(|data| data.parse::<usize>().unwrap_or(0));
    assert_eq!(all, numbers(0, 203));
    Ok(())
}

#[test]
fn a_backlog_that_cannot_be_divided_is_one_batch() -> TestResult {
    let (cluster, mut db) = cluster()?;
    patient_queue(&mut db)?;
    // One transaction.
    db.batch_execute(
        "select pgq.insert_event('q', 'type', n::text) from generate_series(0, 199) n",
    )?;
    age(&mut db)?;
    tick(&mut db)?;
    assert_eq!(batches(&mut db)?, [numbers(0, 200)]);

    // Rotation is at work.
    insert_many(&mut db, 200, 100)?;
    age(&mut db)?;
    let mut maintainer = cluster.connect("postgres")?;
    maintainer.batch_execute("begin; select from pgq.queue for no key update")?;
    tick(&mut db)?;
    maintainer.batch_execute("commit")?;
    assert_eq!(batches(&mut db)?, [numbers(200, 100)]);

    // Something is wrong.
    insert_many(&mut db, 300, 100)?;
    age(&mut db)?;
    db.batch_execute("alter table pgq.event_template rename ev_time to other")?;
    tick(&mut db)?;
    db.batch_execute("alter table pgq.event_template rename other to ev_time")?;
    assert_eq!(batches(&mut db)?, [numbers(300, 100)]);

    // An old snapshot does not see all.
    insert_many(&mut db, 400, 100)?;
    age(&mut db)?;
    db.batch_execute("begin isolation level repeatable read")?;
    tick(&mut db)?;
    db.batch_execute("commit")?;
    assert_eq!(batches(&mut db)?, [numbers(400, 100)]);
    Ok(())
}

/// Pseudo-random numbers that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % 1_000_003).unwrap_or(0) % bound
    }
}

/// A session that changes rows and records each change as an event, in transactions.
struct Writer {
    db: Client,
    open: bool,
    /// Rows that the open transaction has changed, and the events that it will leave.
    rows: Vec<usize>,
    events: Vec<String>,
}

impl Writer {
    fn new(cluster: &Cluster) -> TestResult<Writer> {
        Ok(Writer {
            db: cluster.connect("postgres")?,
            open: false,
            rows: Vec::new(),
            events: Vec::new(),
        })
    }

    fn begin(&mut self, random: &mut Random) -> TestResult {
        let begin = match random.below(4) {
            0 => "begin isolation level repeatable read",
            // Has its id long before it writes.
            1 => "begin; select txid_current()",
            _ => "begin",
        };
        self.db.batch_execute(begin)?;
        self.open = true;
        Ok(())
    }

    /// Changes a row that nobody else has in hand.
    fn change(&mut self, id: usize) -> TestResult {
        let sql = format!("update t set version = version + 1 where id = {id} returning version");
        match row(&mut self.db, &sql) {
            Ok(version) => {
                let data = format!("{id} {version}");
                insert(&mut self.db, &data)?;
                self.rows.push(id);
                self.events.push(data);
                Ok(())
            }
            // The snapshot is too old for this row.
            Err(error) if error.to_string().contains("could not serialize") => {
                self.end(false).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, commit: bool) -> TestResult<Vec<String>> {
        self.db
            .batch_execute(if commit { "commit" } else { "rollback" })?;
        self.open = false;
        self.rows.clear();
        let events = std::mem::take(&mut self.events);
        Ok(if commit { events } else { Vec::new() })
    }
}

/// Whatever the order of things: each committed event comes once, the changes of a row in their order.
#[test]
fn every_event_comes_once_and_in_the_order_of_its_row_whatever_happens_at_random() -> TestResult {
    let (cluster, mut db) = cluster()?;
    db.batch_execute(
        "create table t (id int primary key, version int not null);
         insert into t select n, 0 from generate_series(0, 19) n",
    )?;
    db.batch_execute("alter database postgres set synchronous_commit = off")?;
    let mut divided = 0;
    for seed in 1..=15 {
        patient_queue(&mut db)?;
        let steps =
            run(&cluster, &mut db, seed).map_err(|error| format!("seed {seed}: {error}"))?;
        divided += steps;
        db.batch_execute("select pgq.drop_queue('q', true)")?;
    }
    assert!(divided > 30, "only {divided} ticks divided a backlog");
    Ok(())
}

/// One run; returns how many ticks were made beyond those asked for.
fn run(cluster: &Cluster, db: &mut Client, seed: u64) -> TestResult<usize> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut writers = Vec::new();
    for _ in 0..4 {
        writers.push(Writer::new(cluster)?);
    }
    let mut committed: Vec<String> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut more = 0;
    for _ in 0..900 {
        let place = random.below(writers.len());
        match random.below(1000) {
            0..=649 => {
                let id = random.below(20);
                if writers
                    .iter()
                    .enumerate()
                    .any(|(other, writer)| other != place && writer.rows.contains(&id))
                {
                    continue;
                }
                let writer = &mut writers[place];
                if !writer.open {
                    writer.begin(&mut random)?;
                }
                writer.change(id)?;
            }
            650..=949 => {
                let writer = &mut writers[place];
                if writer.open {
                    committed.extend(writer.end(random.below(8) > 0)?);
                }
            }
            950..=953 => db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?,
            954..=963 => db.batch_execute("select pgq.maint_rotate_tables_step2()")?,
            964..=971 => more += tick_late(db)?,
            _ => {
                if let Some(batch) = consume(db)? {
                    seen.extend(batch);
                }
            }
        }
    }
    for writer in &mut writers {
        if writer.open {
            committed.extend(writer.end(true)?);
        }
    }
    more += tick_late(db)?;
    seen.extend(batches(db)?.concat());

    let mut last: HashMap<&str, u32> = HashMap::new();
    for data in &seen {
        let (id, version) = data.split_once(' ').ok_or("not an event of ours")?;
        let version = version.parse()?;
        if last
            .insert(id, version)
            .is_some_and(|before| before >= version)
        {
            return Err(format!("row {id}: version {version} came late: {seen:?}").into());
        }
    }
    let (mut expected, mut found) = (committed, seen.clone());
    expected.sort();
    found.sort();
    if expected != found {
        return Err(format!("committed {expected:?}\nbut delivered {found:?}").into());
    }
    Ok(more)
}

/// Ticks as if nobody had for an hour; returns how many ticks were made beyond the one.
fn tick_late(db: &mut Client) -> TestResult<usize> {
    age(db)?;
    let before: usize = row(db, "select pgq.seq_getval(queue_tick_seq) from pgq.queue")?.parse()?;
    let made = row(db, "select pgq.ticker('q')")?;
    Ok(match made.parse::<usize>() {
        Ok(newest) => newest - before - 1,
        Err(_) => 0,
    })
}
