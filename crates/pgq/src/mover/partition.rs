//! Tables of a target that hold a span of time each: their names, and making and removing them.
//!
//! A mover asks for the partition of a label, [`Partitions::wanted`], and whether it
//! [`exists`](Partitions::exists). Missing ones are made by [`Partitions::ensure`] in
//! [`prepare`](super::Mover::prepare), so that they are committed before the rows:
//!
//! ```no_run
//! # use pgq::mover::partition::{PartitionConfig, PartitionError, Partitions};
//! # use skytools::{db::Tx, table::TableName};
//! # fn prepare(config: PartitionConfig, target: &mut Tx<'_>) -> Result<(), PartitionError> {
//! let mut partitions = Partitions::new(config, "create table _DEST_TABLE (like _PARENT)");
//! let wanted = partitions.wanted(&TableName::parse("arc.orders"), "2024_05", None)?;
//! if partitions.ensure(target, &wanted)? {
//!     println!("made {}", wanted.table); // arc.orders_2024_05
//! }
//! # Ok(())
//! # }
//! ```
//!
//! They belong to their parent as [`PartStyle`] says. Two processes that want the same one wait for each
//! other, by an advisory lock on the name of the parent.

mod config;
mod error;
mod make;
mod name;
mod retention;
mod span;
mod template;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{Connection, During, GenericClient, Tx};
use skytools::table::TableName;

pub use config::{PartStyle, PartitionConfig, RetentionAction};
pub use error::PartitionError;
pub use name::LongNames;
pub use span::{Period, Span};

/// A table to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Table that it is a part of; itself, if it is no partition.
    pub parent: TableName,
    /// Its name.
    pub table: TableName,
    /// What rows it takes, if the server is to know.
    pub bounds: Option<Bounds>,
    /// Key of its rows, for templates.
    pub keys: Vec<String>,
}

/// The rows of a partition, as the server reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Column of the parent that decides.
    pub column: String,
    /// Its least value.
    pub from: String,
    /// The least value that is too much.
    pub to: String,
}

/// What is known of the partitions of a target.
#[derive(Debug)]
pub struct Partitions {
    config: PartitionConfig,
    /// Tables that were there when they were looked for.
    known: HashSet<TableName>,
    /// When old ones were looked for; `None` if that is due.
    looked: Option<Instant>,
    /// When those of the future were, by parent.
    ahead: HashMap<TableName, Instant>,
}

impl Partitions {
    /// Without `part_template`, missing tables are made by this one; it may be empty.
    pub fn new(mut config: PartitionConfig, template: &str) -> Partitions {
        if config.part_template.trim().is_empty() {
            template.clone_into(&mut config.part_template);
        }
        Partitions {
            config,
            known: HashSet::new(),
            looked: None,
            ahead: HashMap::new(),
        }
    }

    /// The keys.
    pub fn config(&self) -> &PartitionConfig {
        &self.config
    }

    /// Looks whether the server can read those keys that are for it.
    ///
    /// # Errors
    /// It cannot: an interval, or a time zone.
    pub fn check(&self, db: &mut impl GenericClient) -> Result<(), PartitionError> {
        let PartitionConfig {
            partition_timezone: zone,
            retention_period: period,
            ..
        } = &self.config;
        for (key, value, sql) in [
            (
                "partition_timezone",
                zone,
                "select pg_catalog.timezone($1, pg_catalog.now()) is not null",
            ),
            ("retention_period", period, "select $1::interval > '0'"),
        ] {
            if value.is_empty() {
                continue;
            }
            let row = db.query_typed_one(sql, &[(value, Type::TEXT)]);
            let is_wrong = |code: &SqlState| code.code().starts_with("22");
            let why = match row.during(format!("look at {key}")) {
                Ok(row) if row.get(0) => continue,
                Ok(_) => "it has to be more than 0".to_owned(),
                Err(error) if error.sql_state().is_some_and(is_wrong) => error.reason(),
                Err(error) => return Err(error.into()),
            };
            return Err(PartitionError::Key { key, why });
        }
        Ok(())
    }

    /// The partition of this label: `PARENT_LABEL`; without a label the parent itself.
    ///
    /// With a `column` it has the bounds that [`Span::parse`] finds in the label, where the style has the
    /// server know of them.
    ///
    /// # Errors
    /// The name is too long; or the label says nothing about bounds that are needed.
    pub fn wanted(
        &self,
        parent: &TableName,
        label: &str,
        column: Option<&str>,
    ) -> Result<Wanted, PartitionError> {
        let mut wanted = Wanted {
            parent: parent.clone(),
            table: parent.clone(),
            bounds: None,
            keys: Vec::new(),
        };
        if label.is_empty() {
            return Ok(wanted);
        }
        let name = (self.config.long_names).fit(parent.name(), &format!("_{label}"))?;
        wanted.table = TableName::new(parent.schema(), name);
        if let Some(column) = column.filter(|_| self.config.part_style != PartStyle::Template) {
            let span = Span::parse(label).ok_or_else(|| PartitionError::NoSpan {
                table: wanted.table.clone(),
                label: label.to_owned(),
            })?;
            wanted.bounds = Some(Bounds {
                column: column.to_owned(),
                from: self.in_zone(span.start()),
                to: self.in_zone(span.end()),
            });
        }
        Ok(wanted)
    }

    /// A moment in the time zone of the names; types without one read over it.
    fn in_zone(&self, moment: String) -> String {
        match self.config.partition_timezone.as_str() {
            "" => moment,
            _ if moment == "infinity" => moment,
            zone => format!("{moment} {zone}"),
        }
    }

    /// Whether the table is there and is what it should be. Asks the server once.
    ///
    /// # Errors
    /// Something else is in its place.
    pub fn exists(
        &mut self,
        db: &mut impl GenericClient,
        wanted: &Wanted,
    ) -> Result<bool, PartitionError> {
        if self.known.contains(&wanted.table) {
            return Ok(true);
        }
        let found = make::is_there(db, wanted, self.config.part_style)?;
        if found {
            self.known.insert(wanted.table.clone());
        }
        Ok(found)
    }

    /// Whether values of the column stand for a moment, in whatever time zone they are written.
    ///
    /// # Errors
    /// There is no such column, or it has no date in it.
    pub fn is_zoned(
        &self,
        db: &mut impl GenericClient,
        parent: &TableName,
        column: &str,
    ) -> Result<bool, PartitionError> {
        make::is_zoned(db, parent, column)
    }

    /// Makes the table if it is missing; true if it was. Nobody else makes partitions of the same parent
    /// until the transaction ends.
    ///
    /// # Errors
    /// It cannot be made, or something else is in its place.
    pub fn ensure(&mut self, tx: &mut Tx<'_>, wanted: &Wanted) -> Result<bool, PartitionError> {
        if self.exists(&mut **tx, wanted)? {
            return Ok(false);
        }
        let made = make::make(tx, wanted, &self.config)?;
        self.known.insert(wanted.table.clone());
        if made {
            self.looked = None;
        }
        Ok(made)
    }

    /// Makes the partitions of a parent for the present and `precreate` periods ahead, each in a transaction
    /// of its own, when it is time for a look; returns those that were missing.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn precreate(
        &mut self,
        target: &mut Connection,
        parent: &TableName,
        period: Period,
        column: Option<&str>,
        keys: &[String],
    ) -> Result<Vec<TableName>, PartitionError> {
        let mut made = Vec::new();
        let lacks_key = keys.is_empty() && self.config.part_template.contains("_PKEY");
        if self.config.precreate == 0 || lacks_key || !self.is_due(self.ahead.get(parent).copied())
        {
            return Ok(made);
        }
        self.ahead.insert(parent.clone(), Instant::now());
        let now = self.now(&mut **target)?;
        let mut span = now.parse().ok().and_then(|now| Span::of(now, period));
        for _ in 0..=self.config.precreate {
            let Some(next) = span else { break };
            let mut wanted = self.wanted(parent, &next.label(), column)?;
            wanted.keys = keys.to_vec();
            if !self.known.contains(&wanted.table) {
                let mut tx = target.begin()?;
                if self.ensure(&mut tx, &wanted)? {
                    made.push(wanted.table.clone());
                }
                // What was not committed is not there.
                tx.commit().inspect_err(|_| self.forget())?;
            }
            span = next.next();
        }
        Ok(made)
    }

    /// Whether it is time for another look after the last one.
    fn is_due(&self, last: Option<Instant>) -> bool {
        last.is_none_or(|last| last.elapsed() >= self.config.retention_check)
    }

    /// The time of the server in the zone of the names.
    fn now(&self, db: &mut impl GenericClient) -> Result<String, PartitionError> {
        let row = db
            .query_typed_one(
                "select pg_catalog.to_char(pg_catalog.timezone(\
                     coalesce(nullif($1, ''), pg_catalog.current_setting('TimeZone')), pg_catalog.now()), \
                     'YYYY-MM-DD\"T\"HH24:MI:SS')",
                &[(&self.config.partition_timezone, Type::TEXT)],
            )
            .during("ask for the time")?;
        Ok(row.get(0))
    }

    /// Forgets which tables are there, after a failure.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}
