//! What the set-up commands share: their two databases, and transactions with a time limit.

use std::collections::HashSet;

use pgq::{ConsumerName, QueueName};
use postgres::Row;
use postgres::types::Type;
use serde::Serialize;
use skytools::app::{self, account, chain};
use skytools::conninfo::ConnInfo;
use skytools::daemon::Job;
use skytools::db::{Connection, Database, DbError, During, Session, Tx};
use skytools::table::TableName;
use tracing::{debug, error, info, warn};

use super::Outcome;
use crate::args::Options;
use crate::grants::{self, Work};
use crate::names::{Pattern, Relation};
use crate::schema::{self, Side};
use crate::{Config, Error, node};

/// What a database of the command line is called in errors.
pub(super) const ANOTHER: &str = "DSN";

/// A set-up command at work.
pub(super) struct Setup<'a> {
    pub(super) config: &'a Config,
    pub(super) options: &'a Options,
    pub(super) queue: &'a QueueName,
    pub(super) consumer: ConsumerName,
    provider: Option<Database>,
    subscriber: Option<Database>,
    lenient: bool,
    job: &'a Job<Config>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(job: &'a Job<Config>, options: &'a Options) -> Setup<'a> {
        Setup {
            config: &job.config,
            options,
            queue: &job.config.pgq_queue_name,
            consumer: job.config.consumer(&job.common),
            provider: None,
            subscriber: None,
            lenient: false,
            job,
        }
    }

    /// Adds to an error what the role lacks, if that is why it came.
    pub(super) fn explain(&self, error: Error, work: Work) -> Error {
        grants::explain(error, self.job, work, &[])
    }

    /// The provider can be used though no subscriber can be asked for another one.
    pub(super) fn lenient(mut self) -> Setup<'a> {
        self.lenient = true;
        self
    }

    /// Another database, connected on demand.
    pub(super) fn database(&self, conninfo: ConnInfo) -> Database {
        let common = &self.job.common;
        let conninfo = conninfo.with_application_name(&common.job_name);
        Database::new(ANOTHER, conninfo, common.connection_lifetime)
    }

    /// The provider, connected on demand: the one stored on the subscriber, or that of the
    /// configuration.
    ///
    /// # Errors
    /// The subscriber does not answer.
    pub(super) fn provider_database(&mut self) -> Result<Database, Error> {
        let mut database = self.config.provider(&self.job.common)?;
        let queue = self.queue;
        let stored = match self.bare_subscriber() {
            Ok(db) => node::provider(db, queue),
            Err(Error::NotSet(_)) => Ok(None),
            Err(error) => Err(error),
        };
        match stored {
            Ok(Some(conninfo)) => {
                database.set_conninfo(conninfo.with_application_name(&self.job.common.job_name));
            }
            Ok(None) => {}
            Err(error) if self.lenient => {
                debug!("subscriber_db cannot say which provider is used: {error}");
            }
            Err(error) => return Err(error),
        }
        Ok(database)
    }

    /// Both sides; what they need is in place.
    pub(super) fn pair(&mut self) -> Result<(&mut Connection, &mut Connection), Error> {
        self.provider()?;
        self.subscriber()?;
        match (&mut self.provider, &mut self.subscriber) {
            (Some(provider), Some(subscriber)) => {
                Ok((provider.connection()?, subscriber.connection()?))
            }
            _ => Err(Error::NotSet("provider_db")),
        }
    }

    /// The provider, whatever is installed there.
    pub(super) fn bare_provider(&mut self) -> Result<&mut Connection, Error> {
        let database = match self.provider.take() {
            Some(database) => database,
            None => self.provider_database()?,
        };
        Ok(self.provider.insert(database).connection()?)
    }

    /// The subscriber, whatever is installed there.
    pub(super) fn bare_subscriber(&mut self) -> Result<&mut Connection, Error> {
        let database = match self.subscriber.take() {
            Some(database) => database,
            None => self.config.subscriber(&self.job.common)?,
        };
        Ok(self.subscriber.insert(database).connection()?)
    }

    /// Whether the configuration names a subscriber.
    pub(super) fn has_subscriber(&self) -> bool {
        self.config.subscriber(&self.job.common).is_ok()
    }

    /// The provider; queues and registrations are in place.
    ///
    /// # Errors
    /// It does not answer, or `provider install` has not been run.
    pub(super) fn provider(&mut self) -> Result<&mut Connection, Error> {
        let db = self.bare_provider()?;
        schema::require(db, Side::Provider)?;
        Ok(db)
    }

    /// The subscriber; registrations are in place.
    ///
    /// # Errors
    /// It does not answer, or `subscriber install` has not been run.
    pub(super) fn subscriber(&mut self) -> Result<&mut Connection, Error> {
        let db = self.bare_subscriber()?;
        schema::require(db, Side::Subscriber)?;
        Ok(db)
    }

    /// Refuses an empty list of names unless `--all` was given.
    pub(super) fn need_names(&self, names: &[String]) -> Result<(), Error> {
        if names.is_empty() && !self.options.all {
            return Err(Error::NeedNames);
        }
        Ok(())
    }
}

/// Runs `body` in a transaction of its own.
pub(super) fn step<T>(
    db: &mut Connection,
    body: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tx = db.begin()?;
    let value = body(&mut tx)?;
    tx.commit()?;
    Ok(value)
}

/// As [`step`], rolled back with `fake`.
pub(super) fn fakeable_step<T>(
    config: &Config,
    db: &mut Connection,
    body: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tx = db.begin()?;
    let value = body(&mut tx)?;
    if config.fake {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    Ok(value)
}

/// As [`step`], on the provider: ended by the server after `lock_timeout`, rolled back with `fake`.
pub(super) fn provider_step<T>(
    config: &Config,
    db: &mut Connection,
    body: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let limit = config.lock_timeout.as_millis().to_string();
    fakeable_step(config, db, |tx| {
        set_local(tx, "statement_timeout", &limit)?;
        body(tx)
    })
}

/// Sets a parameter until the end of the transaction.
pub(super) fn set_local(db: &mut Session<'_>, name: &str, value: &str) -> Result<(), DbError> {
    db.query_typed_one(
        "select pg_catalog.set_config($1, $2, true)",
        &[(&name, Type::TEXT), (&value, Type::TEXT)],
    )
    .during("set a parameter of the session")?;
    Ok(())
}

/// Logs why one table or sequence of several could not be done, so that the others can be.
///
/// # Errors
/// The connection is gone, so nothing more can be done.
pub(super) fn part_failed(name: &str, failure: Error) -> Result<Outcome, Error> {
    if failure.is_connection_lost() {
        return Err(failure);
    }
    let hint = if failure.is_cancelled() {
        "\nHINT: lock_timeout is over: other transactions hold the table, or it has too many columns for that"
    } else {
        ""
    };
    error!("{name}: {}{hint}", account(&failure));
    Ok(Outcome::Failed)
}

/// Writes results to stdout.
pub(super) fn print(text: &str) -> Result<(), Error> {
    app::output(text).map_err(Error::Output)
}

/// Writes results to stdout as one JSON document.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    app::output_json(value).map_err(Error::Output)
}

/// Prints names one per line, or as a JSON list.
pub(super) fn print_names(names: &[String], options: &Options) -> Result<Outcome, Error> {
    if options.json {
        print_json(&names)?;
    } else {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        print(&lines)?;
    }
    Ok(Outcome::Done)
}

/// What the arguments of a command select from a list, without duplicates: in the order of the
/// arguments, and what a pattern selects in the order of the list.
pub(super) struct Selection {
    pub(super) names: Vec<String>,
    /// Literal names that are not in the list.
    pub(super) unknown: Vec<TableName>,
}

/// Selects from `relations` by names and patterns; no argument selects as `*.*` does.
pub(super) fn select(relations: &[Relation], arguments: &[String]) -> Result<Selection, Error> {
    let mut patterns = Vec::new();
    for argument in arguments {
        patterns.push(Pattern::parse(argument)?);
    }
    if patterns.is_empty() {
        patterns.push(Pattern::everything());
    }
    let mut seen = HashSet::new();
    let mut selection = Selection {
        names: Vec::new(),
        unknown: Vec::new(),
    };
    for pattern in patterns {
        let mut hits = relations.iter().filter(|&r| pattern.selects(r)).peekable();
        if hits.peek().is_none() {
            match &pattern {
                Pattern::Name(name) => selection.unknown.push(name.clone()),
                Pattern::Glob(glob) => info!("No tables found that match {glob}"),
            }
        }
        for hit in hits {
            if seen.insert(&hit.name) {
                selection.names.push(hit.name.clone());
            }
        }
    }
    Ok(selection)
}

/// Says about each name what is wrong with it; nothing to say is success.
pub(super) fn warn_unknown<'n>(
    names: impl IntoIterator<Item = &'n TableName>,
    mut message: impl FnMut(&TableName) -> Result<String, Error>,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::Done;
    for name in names {
        warn!("{}", message(name)?);
        outcome = Outcome::Failed;
    }
    Ok(outcome)
}

/// Reads literal names of tables or sequences, without duplicates.
pub(super) fn literal(arguments: &[String]) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for argument in arguments {
        let name = TableName::parse_argument(argument)?.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Brings foreign keys back that were put aside, rows of table and name, each in a transaction of its
/// own. One that does not hold stays pending.
pub(super) fn restore_pending(db: &mut Connection, pending: &[Row]) -> Result<(), Error> {
    for row in pending {
        let (table, fkey): (String, String) = (row.get(0), row.get(1));
        info!("Creating fkey: {fkey}");
        let restored = step(db, |tx| {
            tx.query_typed_one(
                "select londiste.subscriber_restore_table_fkey($1, $2)",
                &[(&table, Type::TEXT), (&fkey, Type::TEXT)],
            )
            .during(format!("restore the foreign key {fkey} of {table}"))?;
            Ok(())
        });
        match restored {
            Err(failure) if !failure.is_connection_lost() => {
                warn!("{}; it stays pending", chain(&failure));
            }
            result => result?,
        }
    }
    Ok(())
}
