//! What the `pgq` schema of a server can do: it may be of 2.1, of the 3.x line, or ours.

use std::collections::HashSet;

use postgres::types::Type;
use skytools::db::{During, GenericClient};

use crate::Error;

/// Functions that not every generation of PgQ has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// `next_batch_info`, `next_batch_custom`: batches with conditions. Not in 2.1.
    pub custom_batches: bool,
    /// `get_batch_cursor`. Not in 2.1.
    pub batch_cursors: bool,
    /// `register_consumer_at`, which moves a consumer with an open batch, too. Not in 2.1.
    pub register_at: bool,
    /// `event_failed` and what else there is for failed events. Not in 3.x.
    pub failed_queue: bool,
    /// `nack`: a limit of redeliveries. Neither in 2.1 nor in 3.x.
    pub nack: bool,
}

impl Features {
    /// Looks into the catalog, since `pgq.version()` says little of an installation that was
    /// upgraded or damaged.
    ///
    /// # Errors
    /// The statement failed.
    pub fn of(db: &mut impl GenericClient) -> Result<Features, Error> {
        const WANTED: &[&str] = &[
            "next_batch_info",
            "next_batch_custom",
            "get_batch_cursor",
            "register_consumer_at",
            "event_failed",
            "nack",
        ];
        let rows = db
            .query_typed(
                "select distinct p.proname::text from pg_catalog.pg_proc p \
                 join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
                 where n.nspname = 'pgq' and p.proname = any ($1)",
                &[(&WANTED, Type::NAME_ARRAY)],
            )
            .during("look for the functions of pgq")?;
        let names: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
        Ok(Features {
            custom_batches: names.contains("next_batch_info")
                && names.contains("next_batch_custom"),
            batch_cursors: names.contains("get_batch_cursor"),
            register_at: names.contains("register_consumer_at"),
            failed_queue: names.contains("event_failed"),
            nack: names.contains("nack"),
        })
    }
}
