//! Writers that keep the provider busy, and remember what they were told was committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use postgres::{Client, NoTls};
use testkit::{TestResult, wait_for};

use crate::{Replication, TIMEOUT};

/// Where writers write.
#[derive(Debug, Clone)]
struct Target {
    conninfo: String,
    /// Counts the changes of it.
    number: u32,
    /// The last one that may have less than was committed before.
    behind: u32,
}

/// Concurrent writers; stopped when dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    target: Arc<Mutex<Target>>,
    writers: Vec<JoinHandle<TestResult<i64>>>,
}

impl Load {
    /// Tables that the writers need, on both sides.
    pub const TABLES: &str = "
        -- Every writer numbers its rows from 1 on: a missing or doubled one shows.
        create table ledger (writer int, number bigint, payload text, primary key (writer, number));
        create table account (id int primary key, balance numeric not null, seen timestamptz);
        create table item (id bigint primary key, \"Note\" text, tags text[]);
        create table marker (id int primary key);
    ";

    /// The tables, each with its key.
    pub const KEYS: [(&str, &str); 4] = [
        ("ledger", "writer, number"),
        ("account", "id"),
        ("item", "id"),
        ("marker", "id"),
    ];

    /// Rows for them, on the provider.
    pub const ROWS: &str = "
        insert into ledger select 0, i, repeat('x', i % 100) from generate_series(1, 20000) i;
        insert into account select i, 100, null from generate_series(1, 100) i;
        insert into item select i, 'it''s \\ ' || i, array[i::text, null] from generate_series(1, 500) i;
    ";

    /// Starts `writers` of them against the database of `conninfo`; they outlive its server.
    pub fn start(conninfo: &str, writers: i32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let target = Arc::new(Mutex::new(Target {
            conninfo: conninfo.to_owned(),
            number: 0,
            behind: 0,
        }));
        let writers = (1..=writers)
            .map(|writer| {
                let (stop, target) = (Arc::clone(&stop), Arc::clone(&target));
                std::thread::spawn(move || write(&target, writer, &stop))
            })
            .collect();
        Load {
            stop,
            target,
            writers,
        }
    }

    /// Has them write to another database from now on. `behind`: it may lack the last of what was committed, and
    /// they go on from there.
    pub fn redirect(&self, conninfo: &str, behind: bool) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        conninfo.clone_into(&mut target.conninfo);
        target.number += 1;
        if behind {
            target.behind = target.number;
        }
    }

    /// Stops the writers; answers for each how many of its numbers were committed.
    ///
    /// # Errors
    /// A writer failed for another reason than a lost connection.
    pub fn stop(mut self) -> TestResult<Vec<i64>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut numbers = Vec::new();
        for writer in self.writers.drain(..) {
            numbers.push(writer.join().map_err(|_| "a writer panicked")??);
        }
        Ok(numbers)
    }

    /// What is wrong with the rows of the writers in a database, if each of them has committed its numbers up
    /// to that in `written`.
    ///
    /// # Errors
    /// The server is down.
    pub fn problems(db: &mut Client, written: &[i64]) -> TestResult<Vec<String>> {
        let mut problems = Vec::new();
        for (writer, last) in (1..).zip(written) {
            let row = db.query_one(
                "select count(*), count(distinct number), coalesce(min(number), 1), \
                        coalesce(max(number), 0) \
                 from ledger where writer = $1",
                &[&writer],
            )?;
            let found: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
            if found != [*last, *last, 1, *last] {
                problems.push(format!("writer {writer} committed {last}: {found:?}"));
            }
        }
        Ok(problems)
    }

    /// Stops the writers, waits for the last change, and insists that both sides have the same and all that
    /// was committed.
    ///
    /// # Errors
    /// They have not, or a writer wrote nothing.
    pub fn settle(self, it: &Replication) -> TestResult {
        let written = self.stop()?;
        it.wait_synced()?;
        it.wait_caught_up(
            "insert into marker values (1)",
            "select from marker where id = 1",
        )?;
        if written.contains(&0) {
            return Err(format!("a writer wrote nothing: {written:?}").into());
        }
        let problems = Load::problems(&mut it.subscriber_db()?, &written)?;
        if !problems.is_empty() {
            return Err(problems.join("\n").into());
        }
        for (table, key) in Load::KEYS {
            if it.same(&format!("select * from {table} order by {key}"))? == 0 {
                return Err(format!("{table} is empty").into());
            }
        }
        Ok(())
    }

    /// Number of the writers' rows on the subscriber.
    ///
    /// # Errors
    /// It is down.
    pub fn arrived(it: &Replication) -> TestResult<i64> {
        let row = it
            .subscriber_db()?
            .query_one("select count(*) from ledger where writer > 0", &[])?;
        Ok(row.get(0))
    }

    /// Waits until that many more of their rows are on the subscriber.
    ///
    /// # Errors
    /// They do not come in time.
    pub fn wait_progress(it: &Replication, rows: i64) -> TestResult {
        let before = Load::arrived(it)?;
        it.wait("rows to be replicated", || {
            Ok(Load::arrived(it)? >= before + rows)
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes until it is told to stop; answers its last committed number.
fn write(target: &Mutex<Target>, writer: i32, stop: &AtomicBool) -> TestResult<i64> {
    let current = || {
        (target.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    };
    let mut number = 0;
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let (mut db, at) = connect(current, stop)?;
        // A commit that got no answer may have happened or not; the table knows. What was
        // acknowledged must be there.
        let stored = db.query_one(
            "select coalesce(max(number), 0) from ledger where writer = $1",
            &[&writer],
        );
        let stored: i64 = match stored {
            Ok(row) => row.get(0),
            Err(error) if db.is_closed() || is_shutdown(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        if stored < number && at.behind <= seen {
            return Err(format!("writer {writer} committed {number}, and {stored} is left").into());
        }
        seen = at.number;
        number = stored;
        while !stop.load(Ordering::Relaxed) && current().number == at.number {
            match transaction(&mut db, writer, number + 1) {
                Ok(()) => number += 1,
                Err(error) if db.is_closed() || is_shutdown(&error) || is_demoted(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(number)
}

/// One transaction with a bit of everything; some are rolled back, in part or as a whole.
fn transaction(db: &mut Client, writer: i32, number: i64) -> Result<(), postgres::Error> {
    let account = i32::try_from(number % 100).unwrap_or(0) + 1;
    let item = 1000 + i64::from(writer) * 1_000_000 + number % 50;
    if number % 7 == 0 {
        let mut lost = db.transaction()?;
        lost.execute(
            "insert into item values ($1, 'never seen', null)",
            &[&(-item)],
        )?;
        lost.rollback()?;
    }
    let mut tx = db.transaction()?;
    tx.execute(
        "insert into ledger values ($1, $2, $3)",
        &[
            &writer,
            &number,
            &format!("row {number} \\ 'quoted'\n\ttab"),
        ],
    )?;
    if number % 5 == 0 {
        let mut lost = tx.savepoint("lost")?;
        lost.execute("update item set \"Note\" = 'undone' where id <= 10", &[])?;
        lost.rollback()?;
    }
    tx.execute(
        "update account set balance = balance + $2::int8, seen = clock_timestamp() where id = $1",
        &[&account, &number],
    )?;
    match number % 3 {
        0 => tx.execute(
            "insert into item values ($1, $2, array['a,b', null]) on conflict (id) do nothing",
            &[&item, &format!("n{number}")],
        )?,
        1 => tx.execute(
            "update item set \"Note\" = nullif($2, 'n4') where id = $1",
            &[&(item - 1), &format!("n{number}")],
        )?,
        _ => tx.execute("delete from item where id = $1", &[&(item - 20)])?,
    };
    tx.commit()
}

fn connect(current: impl Fn() -> Target, stop: &AtomicBool) -> TestResult<(Client, Target)> {
    wait_for("the provider to accept a writer", TIMEOUT, || {
        let target = current();
        match Client::connect(&target.conninfo, NoTls) {
            Ok(db) => Ok(Some((db, target))),
            Err(error) if stop.load(Ordering::Relaxed) => Err(error.into()),
            Err(_) => Ok(None),
        }
    })
}

/// Class 57P0x: the server is going down, was killed, or starts.
fn is_shutdown(error: &postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("57P0"))
}

/// The database is a root that has been demoted.
fn is_demoted(error: &postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.message().contains("Insert into queue disallowed"))
}
