//! Foreign keys: dropped before a copy, brought back when both tables are in step again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{Connection, DbError, During};
use tracing::{info, warn};

use crate::Error;

/// How often a foreign key that cannot be restored is tried and reported.
const REMINDER: Duration = Duration::from_secs(600);

/// Longest wait for a table lock: replay must not queue behind it for long, nor users behind replay.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '5s'";

/// A dropped foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    from: String,
    to: String,
    name: String,
    definition: String,
}

/// Brings foreign keys back, one by one.
#[derive(Debug, Default)]
pub(crate) struct ForeignKeys {
    failed: HashMap<(String, String), Instant>,
}

/// Drops the foreign keys from and to a table and remembers them, each in its own transaction so that
/// the other tables are locked only for a moment.
pub(crate) fn stash(subscriber: &mut Connection, table: &str) -> Result<(), DbError> {
    let rows = subscriber
        .query_typed(
            "select from_table, fkey_name from londiste.find_table_fkeys($1)",
            &[(&table, Type::TEXT)],
        )
        .during(format!("list the foreign keys of {table}"))?;
    for row in rows {
        let (from, name): (String, String) = (row.get(0), row.get(1));
        info!("Dropping fkey: {name}");
        let mut tx = subscriber.begin()?;
        tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
        tx.query_typed(
            "select londiste.subscriber_drop_table_fkey($1, $2)",
            &[(&from, Type::TEXT), (&name, Type::TEXT)],
        )
        .during(format!("drop the foreign key {name} of {from}"))?;
        tx.commit()?;
    }
    Ok(())
}

impl ForeignKeys {
    /// Restores the foreign keys whose tables are both in step. What fails is only warned about and
    /// tried again later.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn restore(
        &mut self,
        queue: &QueueName,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        let rows = subscriber
            .query_typed(
                "select from_table, to_table, fkey_name, fkey_def \
                 from londiste.subscriber_get_queue_valid_pending_fkeys($1)",
                &[(queue, Type::TEXT)],
            )
            .during("list pending foreign keys")?;
        for row in rows {
            let key = Key {
                from: row.get(0),
                to: row.get(1),
                name: row.get(2),
                definition: row.get(3),
            };
            let id = (key.from.clone(), key.name.clone());
            if self
                .failed
                .get(&id)
                .is_some_and(|last| last.elapsed() < REMINDER)
            {
                continue;
            }
            match restore_one(subscriber, &key) {
                Ok(()) => {
                    self.failed.remove(&id);
                }
                Err(error) if error.is_connection_lost() => return Err(error.into()),
                Err(error) => {
                    let reason = std::error::Error::source(&error)
                        .map_or_else(String::new, |source| format!(": {source}"));
                    warn!("{error}{reason}; replay goes on without it");
                    self.failed.insert(id, Instant::now());
                }
            }
        }
        Ok(())
    }
}

fn restore_one(subscriber: &mut Connection, key: &Key) -> Result<(), DbError> {
    info!("Creating fkey: {} ({} --> {})", key.name, key.from, key.to);
    let step = || format!("restore the foreign key {} of {}", key.name, key.from);
    let mut tx = subscriber.begin()?;
    tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
    tx.query_typed(
        "select londiste.subscriber_restore_table_fkey($1, $2)",
        &[(&key.from, Type::TEXT), (&key.name, Type::TEXT)],
    )
    .during(step())?;
    tx.commit()
}
