//! Keeping sequences close to the provider's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Connection, DbError, During};
use skytools::table::TableName;
use tracing::{debug, info, warn};

use crate::Error;
use crate::registry;

/// Least time between two looks at the provider.
const PERIOD: Duration = Duration::from_secs(1);

/// How often a sequence that cannot be handled is reported.
const REMINDER: Duration = Duration::from_secs(600);

/// The sequences as last seen on the provider.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    seen: HashMap<String, i64>,
    checked: Option<Instant>,
    complained: HashMap<String, Instant>,
}

/// A sequence on the provider.
struct Current {
    name: String,
    /// Whether it is there.
    exists: bool,
    /// `None` if it was never used.
    last: Option<i64>,
    descending: bool,
}

impl Sequences {
    /// Forgets what was seen: after a reconnect the databases may be others.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
        self.checked = None;
    }

    /// Whether the last look at the provider is long ago.
    pub(crate) fn is_due(&self) -> bool {
        self.checked.is_none_or(|last| last.elapsed() >= PERIOD)
    }

    /// Brings the subscribed sequences up to the provider's. A sequence that is missing on either side
    /// is only warned about.
    pub(crate) fn follow(
        &mut self,
        queue: &QueueName,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        self.checked = Some(Instant::now());
        let names = registry::subscriber_seqs(subscriber, queue)?;
        if names.is_empty() {
            return Ok(());
        }
        let found = match current(provider, names) {
            Err(error) if !error.is_connection_lost() => {
                self.complain("of the queue", &chain(&error));
                return Ok(());
            }
            found => found?,
        };
        for current in found {
            if !current.exists {
                self.complain(&current.name, "it does not exist on the provider");
                continue;
            }
            let Some(last) = current.last else { continue };
            let before = self.seen.get(&current.name).copied();
            if before == Some(last) {
                continue;
            }
            match set(subscriber, &current, last, before) {
                Ok(()) => {
                    self.seen.insert(current.name, last);
                }
                Err(error) if error.is_connection_lost() => return Err(error.into()),
                Err(error) => self.complain(&current.name, &chain(&error)),
            }
        }
        Ok(())
    }

    fn complain(&mut self, name: &str, reason: &str) {
        let due = self
            .complained
            .get(name)
            .is_none_or(|last| last.elapsed() > REMINDER);
        if due {
            warn!("cannot follow sequence {name}: {reason}");
            self.complained.insert(name.to_owned(), Instant::now());
        }
    }
}

fn current(provider: &mut Connection, names: Vec<String>) -> Result<Vec<Current>, Error> {
    let (schemas, relations): (Vec<String>, Vec<String>) = names
        .iter()
        .map(|name| {
            let name = TableName::parse(name);
            (name.schema().to_owned(), name.name().to_owned())
        })
        .unzip();
    let rows = provider
        .query_typed(
            "select f.i, s.seqrelid is not null, pg_catalog.pg_sequence_last_value(s.seqrelid), \
             coalesce(s.seqincrement < 0, false) \
             from unnest($1::text[], $2::text[]) with ordinality f(schema, name, i) \
             left join pg_catalog.pg_namespace n on n.nspname = f.schema \
             left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = f.name \
             left join pg_catalog.pg_sequence s on s.seqrelid = c.oid order by f.i",
            &[(&schemas, Type::TEXT_ARRAY), (&relations, Type::TEXT_ARRAY)],
        )
        .during("read the provider's sequences")?;
    Ok(names
        .into_iter()
        .zip(&rows)
        .map(|(name, row)| Current {
            name,
            exists: row.get(1),
            last: row.get(2),
            descending: row.get(3),
        })
        .collect())
}

/// Sets the subscriber's sequence to `last`, but never back: unless the provider went back itself,
/// from `before`.
fn set(
    subscriber: &mut Connection,
    sequence: &Current,
    last: i64,
    before: Option<i64>,
) -> Result<(), DbError> {
    let behind = |value: i64| match sequence.descending {
        true => last > value,
        false => last < value,
    };
    let went_back = before.is_some_and(behind);
    if went_back {
        info!(
            "sequence {} went back to {last} on the provider",
            sequence.name
        );
    }
    let step = || format!("set sequence {}", sequence.name);
    let name = TableName::parse(&sequence.name).quoted();
    let own: Option<i64> = subscriber
        .query_typed_one(
            "select pg_catalog.pg_sequence_last_value($1::text::regclass)",
            &[(&name, Type::TEXT)],
        )
        .during(step())?
        .get(0);
    if !went_back && own.is_some_and(|own| own == last || behind(own)) {
        debug!("sequence {} is ahead of the provider", sequence.name);
        return Ok(());
    }
    subscriber
        .query_typed(
            "select pg_catalog.setval($1::text::regclass, $2)",
            &[(&name, Type::TEXT), (&last, Type::INT8)],
        )
        .during(step())?;
    Ok(())
}
