//! Advisory locks: one ticker per database, one process per consumer.

use postgres::types::Type;
use skytools::db::{During, GenericClient};

use crate::{ConsumerName, Error};

/// First key of consumers; the second is a hash of `SCHEMA.CONSUMER`.
const CONSUMER: i32 = i32::from_be_bytes(*b"pgqC");

/// First key of the ticker; the second is 0.
const TICKER: i32 = i32::from_be_bytes(*b"pgqD");

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
    let row = db
        .query_typed_one(
            "select pg_try_advisory_lock($1, hashtext($2))",
            &[
                (&CONSUMER, Type::INT4),
                (&format!("{schema}.{consumer}"), Type::TEXT),
            ],
        )
        .during("take the lock of the consumer")?;
    Ok(row.get(0))
}

/// Gives back the lock of [`try_consumer`], before its session ends.
///
/// # Errors
/// The statement failed.
pub fn release_consumer(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<(), Error> {
    db.execute_typed(
        "select pg_advisory_unlock($1, hashtext($2))",
        &[
            (&CONSUMER, Type::INT4),
            (&format!("{schema}.{consumer}"), Type::TEXT),
        ],
    )
    .during("give back the lock of the consumer")?;
    Ok(())
}

/// Whether some process holds the session-level lock of a consumer.
///
/// # Errors
/// The statement failed.
pub fn is_consumer_locked(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select exists (select from pg_catalog.pg_locks l \
             join pg_catalog.pg_database d on d.oid = l.database \
             where l.locktype = 'advisory' and l.objsubid = 2 and l.granted \
             and l.classid = $1::int4::oid and l.objid = hashtext($2)::oid \
             and d.datname = current_database())",
            &[
                (&CONSUMER, Type::INT4),
                (&format!("{schema}.{consumer}"), Type::TEXT),
            ],
        )
        .during("look at the lock of the consumer")?;
    Ok(row.get(0))
}

/// Waits for the lock of a consumer and keeps it to the end of the transaction: for destinations
/// behind a transaction-pooling proxy, where a session lock would stay with a server connection.
///
/// # Errors
/// The statement failed.
pub fn wait_consumer(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<(), Error> {
    db.execute_typed(
        "select pg_advisory_xact_lock($1, hashtext($2))",
        &[
            (&CONSUMER, Type::INT4),
            (&format!("{schema}.{consumer}"), Type::TEXT),
        ],
    )
    .during("wait for the lock of the consumer")?;
    Ok(())
}

/// Tries to become the one ticker of a database, for as long as the session lives; false if there
/// is another.
///
/// # Errors
/// The statement failed.
pub fn try_ticker(db: &mut impl GenericClient) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pg_try_advisory_lock($1, 0)",
            &[(&TICKER, Type::INT4)],
        )
        .during("take the lock of the ticker")?;
    Ok(row.get(0))
}

/// Gives back the lock of [`try_ticker`], before its session ends.
///
/// # Errors
/// The statement failed.
pub fn release_ticker(db: &mut impl GenericClient) -> Result<(), Error> {
    db.execute_typed("select pg_advisory_unlock($1, 0)", &[(&TICKER, Type::INT4)])
        .during("give back the lock of the ticker")?;
    Ok(())
}
