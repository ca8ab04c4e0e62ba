//! What is stored about a subscribed table, and changing it.

use pgq::{QueueName, TickId};
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, GenericClient, Isolation, Session};
use skytools::snapshot::Snapshot;
use tracing::info;

use crate::Error;
use crate::registry::{self, SubscriberTable};

/// How far a table is on its way from being registered to being replicated: `merge_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MergeState {
    /// Registered; its data is not trusted. Stored as null.
    New,
    /// Being copied, or to be copied again.
    InCopy,
    /// Copied; the copy process applies its events.
    CatchingUp,
    /// The copy stands before the batch that ends at this tick, and waits.
    WannaSync(TickId),
    /// Replay stands before the batch that ends at this tick, and waits.
    DoSync(TickId),
    /// Replay applies its events.
    Ok,
}

impl MergeState {
    /// Reads the stored text; `None` if it means nothing.
    fn parse(text: Option<&str>) -> Option<MergeState> {
        let Some(text) = text else {
            return Some(MergeState::New);
        };
        let tick = |number: &str| number.parse::<i64>().ok().map(TickId::from);
        match (text, text.split_once(':')) {
            ("in-copy", _) => Some(MergeState::InCopy),
            ("catching-up", _) => Some(MergeState::CatchingUp),
            // Old installations wrote a question mark for a table that needs no copy.
            ("ok" | "?", _) => Some(MergeState::Ok),
            (_, Some(("wanna-sync", number))) => tick(number).map(MergeState::WannaSync),
            (_, Some(("do-sync", number))) => tick(number).map(MergeState::DoSync),
            _ => None,
        }
    }

    /// The text to store.
    pub(crate) fn text(self) -> Option<String> {
        match self {
            MergeState::New => None,
            MergeState::InCopy => Some("in-copy".to_owned()),
            MergeState::CatchingUp => Some("catching-up".to_owned()),
            MergeState::WannaSync(tick) => Some(format!("wanna-sync:{tick}")),
            MergeState::DoSync(tick) => Some(format!("do-sync:{tick}")),
            MergeState::Ok => Some("ok".to_owned()),
        }
    }

    /// Whether the table is in the hands of a copy process.
    pub(crate) fn in_progress(self) -> bool {
        match self {
            MergeState::New | MergeState::Ok => false,
            MergeState::InCopy
            | MergeState::CatchingUp
            | MergeState::WannaSync(_)
            | MergeState::DoSync(_) => true,
        }
    }
}

/// As in log lines: the stored text, `None` for null.
impl std::fmt::Display for MergeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text().as_deref().unwrap_or("None"))
    }
}

/// A subscribed table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// `schema.table`, raw, as registered.
    pub(crate) name: String,
    /// How far it is.
    pub(crate) state: MergeState,
    /// Snapshot of the copy, while events may still be contained in it.
    pub(crate) snapshot: Option<Snapshot>,
    /// Whether the copy keeps the rows that are there.
    pub(crate) skip_truncate: bool,
    /// What was read, to notice a change by somebody else.
    stored: (Option<String>, Option<String>),
}

impl Table {
    /// Whether the stored state is not the text we would store.
    pub(crate) fn is_spelled_otherwise(&self) -> bool {
        self.stored.0 != self.state.text()
    }

    fn read(row: SubscriberTable) -> Result<Table, Error> {
        let state = MergeState::parse(row.state.as_deref()).ok_or_else(|| Error::TableState {
            table: row.name.clone(),
            state: row.state.clone().unwrap_or_default(),
        })?;
        let snapshot = match &row.snapshot {
            None => None,
            Some(text) => Some(text.parse().map_err(|source| Error::Snapshot {
                table: row.name.clone(),
                source,
            })?),
        };
        Ok(Table {
            name: row.name,
            state,
            snapshot,
            skip_truncate: row.skip_truncate,
            stored: (row.state, row.snapshot),
        })
    }
}

/// The tables of a queue, in order of registration.
pub(crate) fn tables(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<Table>, Error> {
    let rows = registry::subscriber_tables(db, queue)?;
    rows.into_iter().map(Table::read).collect()
}

/// Tables that depend on transaction ids of the provider, or on consumers there.
pub(crate) fn unsettled(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<Table>, Error> {
    let mut tables = tables(db, queue)?;
    tables.retain(|table| table.state.in_progress() || table.snapshot.is_some());
    Ok(tables)
}

/// Who changes a state; appears in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The replay process.
    Replay,
    /// A copy process.
    Copy,
}

/// Stores a new state and snapshot in the caller's transaction.
pub(crate) fn store(
    db: &mut impl GenericClient,
    queue: &QueueName,
    actor: Actor,
    table: &str,
    state: MergeState,
    snapshot: Option<&Snapshot>,
) -> Result<(), DbError> {
    info!(
        "storing state of {table}: copy:{} new_state:{state}",
        i32::from(actor == Actor::Copy)
    );
    db.query_typed(
        "select londiste.subscriber_set_table_state($1, $2, $3, $4)",
        &[
            (queue, Type::TEXT),
            (&table, Type::TEXT),
            (&snapshot.map(ToString::to_string), Type::TEXT),
            (&state.text(), Type::TEXT),
        ],
    )
    .during(format!("store the state of {table}"))?;
    Ok(())
}

/// Whether nobody changed the table's state since `table` was read. In a REPEATABLE READ
/// transaction that goes on to store a state, a change that commits in between fails the
/// transaction, see [`overtaken`].
pub(crate) fn unchanged(
    db: &mut impl GenericClient,
    queue: &QueueName,
    table: &Table,
) -> Result<bool, DbError> {
    let row = db
        .query_typed_opt(
            "select merge_state, snapshot from londiste.subscriber_get_table_list($1) \
             where table_name = $2",
            &[(queue, Type::TEXT), (&table.name, Type::TEXT)],
        )
        .during(format!("read the state of {}", table.name))?;
    Ok(row.is_some_and(|row| (row.get(0), row.get(1)) == table.stored))
}

/// Whether a transaction failed because somebody else changed what it stores.
pub(crate) fn overtaken(error: &Error) -> bool {
    let Error::Db(error) = error else {
        return false;
    };
    error.sql_state() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

/// Moves a table to another state in a transaction of its own, unless somebody else changed it since
/// it was read: then nothing happens and the answer is false. `also` runs in the same transaction
/// and may refuse by answering false.
pub(crate) fn transition(
    db: &mut Connection,
    queue: &QueueName,
    actor: Actor,
    table: &Table,
    to: MergeState,
    snapshot: Option<&Snapshot>,
    also: impl FnOnce(&mut skytools::db::Tx<'_>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let attempt = |db: &mut Connection| -> Result<bool, Error> {
        let mut tx = db.begin_with(Isolation::RepeatableRead)?;
        if !unchanged(&mut *tx, queue, table)? || !also(&mut tx)? {
            tx.rollback()?;
            return Ok(false);
        }
        store(&mut *tx, queue, actor, &table.name, to, snapshot)?;
        tx.commit()?;
        Ok(true)
    };
    match attempt(db) {
        Ok(changed) => {
            if changed && to != table.state {
                info!("Table {} status changed to '{to}'", table.name);
            }
            Ok(changed)
        }
        Err(error) if overtaken(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_being_stored() {
        let tick = TickId::from(42);
        for state in [
            MergeState::New,
            MergeState::InCopy,
            MergeState::CatchingUp,
            MergeState::WannaSync(tick),
            MergeState::DoSync(tick),
            MergeState::Ok,
        ] {
            assert_eq!(MergeState::parse(state.text().as_deref()), Some(state));
        }
        assert_eq!(MergeState::parse(Some("?")), Some(MergeState::Ok));
    }

    #[test]
    fn a_state_that_means_nothing_is_refused() {
        for text in [
            "",
            "OK",
            "do-sync",
            "do-sync:",
            "do-sync:x",
            "wanna-sync:1:2",
        ] {
            assert_eq!(MergeState::parse(Some(text)), None, "{text:?}");
        }
    }
}
