//! Advisory locks: one ticker per database, one process per consumer.

use postgres::GenericClient;

use crate::{ConsumerName, Error};

/// Tries to take the session-level lock of a consumer at its destination; false if another process
/// holds it. `schema` is where the position is kept.
///
/// # Errors
/// The statement failed.
pub fn try_consumer(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    let _ = (db, schema, consumer);
    unimplemented!("owner: pgq helper")
}
