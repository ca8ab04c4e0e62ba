//! Copying from another node of the cascade than the provider.
//!
//! Such a copy registers at that node, and takes rows and events from there as long as its snapshot says
//! something about events: transaction ids of one server mean nothing on another. When no event of a later
//! batch can be contained in the snapshot, only ticks count, which are the same on all nodes: the copy goes on
//! at the provider, from the tick where it stands, and meets replay there.

use pgq::{ConsumerName, QueueName, admin};
use postgres::types::Type;
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, During, Session};
use tracing::{info, warn};

use crate::replay::state::{MergeState, Table};
use crate::{CascadeError, Error, node, registry, schema};

/// Where a table is copied from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) table: String,
    /// Consumer of the copy there, once it is registered.
    consumer: Option<ConsumerName>,
    text: String,
}

impl Source {
    /// # Errors
    /// The stored text is no connect string.
    pub(crate) fn conninfo(&self) -> Result<ConnInfo, Error> {
        ConnInfo::parse(&self.text).map_err(|source| Error::ConnInfo {
            key: "londiste.copy_source.source_dsn",
            source,
        })
    }

    /// Whether both are the same node.
    pub(crate) fn is_same_place(&self, other: &Source) -> bool {
        self.text == other.text
    }

    /// Whether the table still needs the node: its rows are to come, or its snapshot is.
    pub(crate) fn is_needed(table: &Table) -> bool {
        match table.state {
            MergeState::New | MergeState::InCopy => true,
            MergeState::CatchingUp | MergeState::WannaSync(_) | MergeState::DoSync(_) => {
                table.snapshot.is_some()
            }
            MergeState::Ok => false,
        }
    }

    /// Remembers the consumer, before it is registered.
    pub(crate) fn note(
        &mut self,
        db: &mut Session<'_>,
        queue: &QueueName,
        consumer: &ConsumerName,
    ) -> Result<(), Error> {
        store(db, queue, &self.table, Some(consumer), Some(&self.text))?;
        self.consumer = Some(consumer.clone());
        Ok(())
    }

    /// Leaves nothing of the copy at the node, and forgets it. What fails is only warned about, and tried again
    /// when replay starts.
    pub(crate) fn leave(&self, db: &mut Session<'_>, queue: &QueueName) -> Result<(), Error> {
        if let Some(consumer) = &self.consumer {
            let unregister = || -> Result<(), Error> {
                let mut node = Connection::open(NAME, &self.conninfo()?)?;
                admin::unregister_consumer(&mut *node, queue, consumer)?;
                Ok(())
            };
            if let Err(error) = unregister() {
                warn!(
                    "cannot unregister {consumer} at the node that {} was copied from, whose queue keeps its \
                     events until that is done: {}",
                    self.table,
                    chain(&error)
                );
                return Ok(());
            }
            info!(
                "consumer {consumer} unregistered at the node that {} was copied from",
                self.table
            );
        }
        store(db, queue, &self.table, None, None)
    }
}

/// Names the node in errors.
const NAME: &str = "copy-from";

/// The sources of all tables of the queue; none in a database of an older version.
pub(crate) fn all(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<Source>, Error> {
    if !schema::may_call(db, "londiste.get_copy_sources(text)")? {
        return Ok(Vec::new());
    }
    let rows = db
        .query_typed(
            "select table_name, consumer_id, source_dsn from londiste.get_copy_sources($1) order by 1",
            &[(queue, Type::TEXT)],
        )
        .during("ask where tables are copied from")?;
    Ok(rows
        .iter()
        .map(|row| Source {
            table: row.get(0),
            consumer: row.get(1),
            text: row.get(2),
        })
        .collect())
}

/// Where the table is copied from; `None`: from the provider.
pub(crate) fn of(
    db: &mut Session<'_>,
    queue: &QueueName,
    table: &str,
) -> Result<Option<Source>, Error> {
    Ok(all(db, queue)?
        .into_iter()
        .find(|source| source.table == table))
}

/// Remembers where a table is to be copied from; `None`: from the provider.
pub(crate) fn choose(
    db: &mut Session<'_>,
    queue: &QueueName,
    table: &str,
    source: Option<&str>,
) -> Result<(), Error> {
    if schema::may_call(db, "londiste.set_copy_source(text,text,text,text)")? {
        return store(db, queue, table, None, source);
    }
    match source {
        None => Ok(()),
        Some(_) => Err(Error::NeedsUpgrade { side: "subscriber" }),
    }
}

fn store(
    db: &mut Session<'_>,
    queue: &QueueName,
    table: &str,
    consumer: Option<&ConsumerName>,
    source: Option<&str>,
) -> Result<(), Error> {
    db.query_typed(
        "select londiste.set_copy_source($1, $2, $3, $4)",
        &[
            (queue, Type::TEXT),
            (&table, Type::TEXT),
            (&consumer, Type::TEXT),
            (&source, Type::TEXT),
        ],
    )
    .during(format!("store where {table} is copied from"))?;
    Ok(())
}

/// Makes sure that tables can be copied from a node: it is one of the same cascade and generation as `other`,
/// and publishes them.
///
/// # Errors
/// It is not, or does not.
pub(crate) fn check(
    queue: &QueueName,
    source: &mut Connection,
    other: &mut Session<'_>,
    tables: &[String],
) -> Result<(), Error> {
    let refuse = |reason: String| Err(CascadeError::CopySource { reason }.into());
    schema::require(source, schema::Side::Provider)?;
    let (Some(theirs), Some(ours)) = (node::find(source, queue)?, node::find(other, queue)?) else {
        return refuse(format!(
            "it or the provider has no lineage of queue {queue}"
        ));
    };
    if theirs.lineage != ours.lineage {
        return refuse(format!("its queue {queue} is of another lineage"));
    }
    if theirs.generation != ours.generation {
        return refuse(format!(
            "it is of generation {}, and the provider of generation {}",
            theirs.generation, ours.generation
        ));
    }
    let published = registry::provider_tables(source, queue)?;
    let missing: Vec<&str> = tables
        .iter()
        .filter(|table| !published.contains(table))
        .map(String::as_str)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => refuse(format!(
            "it does not have {} as a whole",
            missing.join(", ")
        )),
    }
}

/// The node of a connect string typed by a user.
pub(crate) fn typed(text: &str) -> Result<ConnInfo, Error> {
    ConnInfo::parse(text).map_err(|source| Error::ConnInfo {
        key: "--copy-from",
        source,
    })
}
