//! What is registered: tables and sequences of a queue, on either side.

use std::collections::HashMap;

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{During, Session};

use crate::Error;

/// A subscribed table, as `londiste.subscriber_get_table_list` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriberTable {
    /// `schema.table`, raw.
    pub(crate) name: String,
    /// `merge_state`: null, `in-copy`, `catching-up`, `wanna-sync:N`, `do-sync:N`, `ok`.
    pub(crate) state: Option<String>,
    /// Snapshot of the copy, while events may still be contained in it.
    pub(crate) snapshot: Option<String>,
    /// Whether the copy keeps the rows that are there.
    pub(crate) skip_truncate: bool,
}

impl SubscriberTable {
    /// Whether replay applies its events; `?` is an old spelling.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.state.as_deref(), Some("ok" | "?"))
    }
}

/// Tables registered on the provider, in order of registration.
pub(crate) fn provider_tables(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Vec<String>, Error> {
    list(
        db,
        queue,
        "select table_name from londiste.provider_get_table_list($1)",
        "list the provider's tables",
    )
}

/// The number of each registration on the provider; a table that is registered again gets another.
pub(crate) fn provider_numbers(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<HashMap<String, i32>, Error> {
    let rows = db
        .query_typed(
            "select table_name, nr from londiste.provider_table where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("list the numbers of the provider's tables")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The registration of the provider that each subscribed table follows, as far as it is known.
pub(crate) fn followed_numbers(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<HashMap<String, i32>, Error> {
    // Older versions have not this column.
    let rows = db
        .query_typed(
            "select t.table_name, (to_jsonb(t)->>'provider_nr')::int4
               from londiste.subscriber_table t
              where t.queue_name = $1 and to_jsonb(t)->>'provider_nr' is not null",
            &[(queue, Type::TEXT)],
        )
        .during("list the registrations that tables follow")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What tells the rows of a published table apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum RowKey {
    /// The primary key.
    #[default]
    Primary,
    /// A unique index of the provider's table.
    Index(String),
    /// Nothing: rows only come.
    None,
}

/// The keys of the tables registered on the provider that have no primary key, or do not use it.
pub(crate) fn provider_keys(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<HashMap<String, RowKey>, Error> {
    // Older versions have not these columns.
    let rows = db
        .query_typed(
            "select t.table_name, to_jsonb(t)->>'key_index' as key_index
               from londiste.provider_table t
              where t.queue_name = $1
                and (to_jsonb(t)->>'key_index' is not null or to_jsonb(t)->>'insert_only' = 'true')",
            &[(queue, Type::TEXT)],
        )
        .during("list the keys of the provider's tables")?;
    let key = |index: Option<String>| index.map_or(RowKey::None, RowKey::Index);
    Ok(rows
        .iter()
        .map(|row| (row.get(0), key(row.get(1))))
        .collect())
}

/// Sequences registered on the provider, in order of registration.
pub(crate) fn provider_seqs(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<String>, Error> {
    list(
        db,
        queue,
        "select s from londiste.provider_get_seq_list($1) s",
        "list the provider's sequences",
    )
}

/// Sequences registered on the subscriber, in order of registration.
pub(crate) fn subscriber_seqs(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Vec<String>, Error> {
    list(
        db,
        queue,
        "select s from londiste.subscriber_get_seq_list($1) s",
        "list the subscriber's sequences",
    )
}

fn list(
    db: &mut Session<'_>,
    queue: &QueueName,
    sql: &str,
    step: &'static str,
) -> Result<Vec<String>, Error> {
    let rows = db.query_typed(sql, &[(queue, Type::TEXT)]).during(step)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tables registered on the subscriber, in order of registration.
pub(crate) fn subscriber_tables(
    db: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Vec<SubscriberTable>, Error> {
    let rows = db
        .query_typed(
            "select table_name, merge_state, snapshot, coalesce(skip_truncate, false) \
             from londiste.subscriber_get_table_list($1)",
            &[(queue, Type::TEXT)],
        )
        .during("list the subscriber's tables")?;
    Ok(rows
        .iter()
        .map(|row| SubscriberTable {
            name: row.get(0),
            state: row.get(1),
            snapshot: row.get(2),
            skip_truncate: row.get(3),
        })
        .collect())
}
