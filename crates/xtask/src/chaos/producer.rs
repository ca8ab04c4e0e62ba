//! A producer of each kind, as a process of its own.
//!
//! A transaction writes into the table `ledger` what it puts into the queue: the two commit together, so
//! the ledger has what consumers must get. Some transactions are rolled back, in part or as a whole.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use pgq::Error;
use pgq::producer::{self, BulkInsert, Field, NewEvent};
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, During};

use crate::Result;
use crate::process::pause;

use super::random::Random;
use super::stage::{QUEUE, complain, prepared_name};

/// Produce until killed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of transactions
    #[arg(value_enum)]
    kind: Kind,
    /// Number of this producer
    id: i32,
    /// Connect string of the database with the queue
    #[arg(value_parser = ConnInfo::parse)]
    db: ConnInfo,
    /// File for the numbers of transactions whose commit was acknowledged
    #[arg(long)]
    acknowledged: PathBuf,
    /// Number that what it does follows from
    #[arg(long)]
    seed: u64,
}

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// Inserts one event.
    Single,
    /// Inserts many events with one call.
    Bulk,
    /// Copies events into the table of the queue.
    Copy,
    /// Changes rows of a table with a capture, one by one; others change the same rows.
    Rows,
    /// Changes many rows of a table with a capture for statements at once.
    Statements,
    /// Inserts events over a time in which there are ticks and the tables rotate.
    Long,
    /// Takes a snapshot, and inserts events when it is old.
    Snapshot,
    /// Is prepared, and committed or rolled back later by another one.
    Prepared,
}

impl Kind {
    /// The producers of a run, in the order of their numbers.
    pub(super) const ALL: [Kind; 9] = [
        Kind::Single,
        Kind::Bulk,
        Kind::Copy,
        Kind::Rows,
        Kind::Rows,
        Kind::Statements,
        Kind::Long,
        Kind::Snapshot,
        Kind::Prepared,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Single => "single",
            Kind::Bulk => "bulk",
            Kind::Copy => "copy",
            Kind::Rows => "rows",
            Kind::Statements => "statements",
            Kind::Long => "long",
            Kind::Snapshot => "snapshot",
            Kind::Prepared => "prepared",
        }
    }
}

struct Producer {
    kind: Kind,
    id: i32,
    random: Random,
    /// Of the transaction that is at work.
    number: i64,
    /// Nothing of the transaction may ever be seen.
    doomed: bool,
    /// The ledger has something of the transaction.
    noted: bool,
    acknowledged: File,
    db: Connection,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    // Another one for each process: what it does depends on what it finds anyway.
    let mut random = Random::new(args.seed ^ u64::from(now.subsec_nanos()));
    let mut last = String::new();
    loop {
        let failed = Producer::connect(args, random.clone()).and_then(|mut producer| {
            loop {
                producer.transaction()?;
            }
        });
        let Err::<std::convert::Infallible, _>(error) = failed;
        let text = skytools::app::chain(&error);
        // A server that is down is no news after the first attempt.
        if text != last {
            complain(&error);
            last = text;
        }
        pause(random.millis(50, 150));
    }
}

impl Producer {
    fn connect(args: &Args, random: Random) -> Result<Producer, Error> {
        let acknowledged = File::options()
            .create(true)
            .append(true)
            .open(&args.acknowledged)
            .map_err(Error::Copy)?;
        let mut db = Connection::open("db", &args.db)?;
        db.batch_execute(&format!("set application_name = 'producer {}'", args.id))
            .during("set the name")?;
        // The session of a killed predecessor may still be at work.
        db.query_one("select pg_advisory_lock($1)", &[&i64::from(args.id)])
            .during("wait for the predecessor")?;
        let mut producer = Producer {
            kind: args.kind,
            id: args.id,
            random,
            number: 0,
            doomed: false,
            noted: false,
            acknowledged,
            db,
        };
        producer.settle_prepared()?;
        // A commit that got no answer may have happened or not; the ledger knows.
        let row = producer
            .db
            .query_one(
                "select coalesce(max(number), 0) from ledger where producer = $1",
                &[&args.id],
            )
            .during("read the ledger")?;
        producer.number = row.get(0);
        Ok(producer)
    }

    /// Ends the prepared transaction that a predecessor has left, one way or the other.
    fn settle_prepared(&mut self) -> Result<(), Error> {
        let left = self
            .db
            .query(
                "select gid from pg_prepared_xacts where gid like $1",
                &[&format!("{}%", prepared_name(self.id, ""))],
            )
            .during("look for prepared transactions")?;
        for row in left {
            let end = *self.random.choose(&["commit", "rollback"]);
            let name: String = row.get(0);
            self.db
                .batch_execute(&format!("{end} prepared '{name}'"))
                .during("end a prepared transaction")?;
        }
        Ok(())
    }

    fn transaction(&mut self) -> Result<(), Error> {
        self.number += 1;
        self.doomed = self.random.one_in(12);
        match self.kind {
            Kind::Copy => self.copy()?,
            Kind::Prepared => self.prepare()?,
            _ => self.ordinary()?,
        }
        if self.noted && !self.doomed {
            writeln!(self.acknowledged, "{}", self.number).map_err(Error::Copy)?;
        }
        let rest = match self.kind {
            Kind::Bulk | Kind::Copy | Kind::Statements => self.random.millis(50, 300),
            _ => self.random.millis(0, 25),
        };
        pause(rest);
        Ok(())
    }

    fn ordinary(&mut self) -> Result<(), Error> {
        let level = match self.kind {
            Kind::Snapshot => "repeatable read",
            _ => "read committed",
        };
        self.run(&format!("begin isolation level {level}"))?;
        if self.random.one_in(6) {
            self.run("savepoint lost")?;
            let ghost = self.name("ghost");
            self.insert(&[ghost])?;
            self.run("rollback to savepoint lost")?;
        }
        let tags = match self.kind {
            Kind::Rows => self.change_rows()?,
            Kind::Statements => self.change_many()?,
            Kind::Bulk => {
                let tags = self.names(25);
                let events: Vec<NewEvent> = tags
                    .iter()
                    .map(|tag| NewEvent::new("event", tag.as_str()))
                    .collect();
                producer::insert_events(&mut *self.db, &QUEUE.into(), &events)?;
                tags
            }
            Kind::Long => {
                let tags = self.names(4);
                for tag in &tags {
                    self.insert(std::slice::from_ref(tag))?;
                    pause(self.random.millis(10, 500));
                }
                tags
            }
            Kind::Snapshot => {
                self.run("select from pg_class limit 1")?;
                pause(self.random.millis(10, 1200));
                let tags = self.names(3);
                self.insert(&tags)?;
                tags
            }
            Kind::Single | Kind::Copy | Kind::Prepared => {
                let tags = self.names(1);
                self.insert(&tags)?;
                tags
            }
        };
        self.note(&tags)?;
        self.run(if self.doomed { "rollback" } else { "commit" })
    }

    fn copy(&mut self) -> Result<(), Error> {
        let tags = self.names(25);
        self.noted = true;
        let (id, number) = (self.id, self.number);
        let mut tx = self.db.begin()?;
        let fields = [Field::Time, Field::Kind, Field::Data];
        let mut rows = BulkInsert::begin(&mut tx, &QUEUE.into(), &fields)?;
        for tag in &tags {
            let values = ["now", "event", tag.as_str()].map(|text| Some(text.as_bytes()));
            rows.push(&values)?;
        }
        rows.finish()?;
        tx.execute(NOTE, &[&id, &number, &tags])
            .during("write the ledger")?;
        if self.doomed {
            tx.rollback()?;
        } else {
            tx.commit()?;
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Error> {
        let name = prepared_name(self.id, &self.number.to_string());
        let tags = self.names(3);
        self.run("begin")?;
        self.insert(&tags)?;
        self.note(&tags)?;
        self.run(&format!("prepare transaction '{name}'"))?;
        let wait = self.random.millis(0, 900);
        pause(wait);
        let end = if self.doomed { "rollback" } else { "commit" };
        self.run(&format!("{end} prepared '{name}'"))
    }

    /// Changes a few of the rows that several producers change; returns what a capture makes of it.
    fn change_rows(&mut self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let mut row: i32 = 0;
        // In ascending order, so that nobody waits in a circle.
        for i in 0..self.random.between(1, 3) {
            row += i32::try_from(self.random.between(1, 12)).unwrap_or(1);
            let value = self.name(&i.to_string());
            let found = match self.random.below(4) {
                0 => self.db.query(
                    "delete from item where id = $1 returning 'D:' || v",
                    &[&row],
                ),
                1 => self.db.query(
                    "insert into item (id, v) values ($1, $2) on conflict (id) do nothing \
                     returning 'I:' || v",
                    &[&row, &value],
                ),
                _ => self.db.query(
                    "update item set v = $2 where id = $1 returning 'U:' || v",
                    &[&row, &value],
                ),
            };
            let found = found.during("change a row")?;
            tags.extend(found.iter().map(|row| row.get::<_, String>(0)));
        }
        Ok(tags)
    }

    /// Changes rows of another table by one statement; returns what a capture makes of it.
    fn change_many(&mut self) -> Result<Vec<String>, Error> {
        let value = self.name("");
        let low = i32::try_from(self.random.between(1, 100)).unwrap_or(1);
        let high = low + i32::try_from(self.random.between(0, 30)).unwrap_or(1);
        let found = match self.random.below(3) {
            0 => self.db.query(
                "delete from lot where id between $1 and $2 returning 'D:' || v",
                &[&low, &high],
            ),
            1 => self.db.query(
                "insert into lot (id, v) select i, $3 || i from generate_series($1::int, $2) i \
                 on conflict (id) do nothing returning 'I:' || v",
                &[&low, &high, &value],
            ),
            _ => self.db.query(
                "update lot set v = $3 || id where id between $1 and $2 returning 'U:' || v",
                &[&low, &high, &value],
            ),
        };
        let found = found.during("change many rows")?;
        Ok(found.iter().map(|row| row.get(0)).collect())
    }

    /// Names for up to `high` events.
    fn names(&mut self, high: u32) -> Vec<String> {
        (0..self.random.between(1, high))
            .map(|i| self.name(&i.to_string()))
            .collect()
    }

    /// A name that no other event has; it tells whether the event may be seen.
    fn name(&self, part: &str) -> String {
        let fate = if self.doomed { "ghost:" } else { "" };
        format!("{fate}{}:{}:{part}", self.id, self.number)
    }

    fn insert(&mut self, tags: &[String]) -> Result<(), Error> {
        for tag in tags {
            let event = NewEvent::new("event", tag.as_str());
            producer::insert_event(&mut *self.db, &QUEUE.into(), &event)?;
        }
        Ok(())
    }

    fn note(&mut self, tags: &[String]) -> Result<(), Error> {
        self.noted = !tags.is_empty();
        self.db
            .execute(NOTE, &[&self.id, &self.number, &tags])
            .during("write the ledger")?;
        Ok(())
    }

    fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.db.batch_execute(sql).during(sql.to_owned())?;
        Ok(())
    }
}

/// Notes the events of a transaction.
const NOTE: &str = "insert into ledger (producer, number, tag) select $1, $2, unnest($3::text[])";
