//! Advisory locks: one ticker per database, one process per consumer, one maker of partitions.

use std::time::Duration;

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, GenericClient};
use skytools::table::TableName;

use crate::{ConsumerName, Error};

/// First key of consumers; the second is a hash of `SCHEMA.CONSUMER`.
const CONSUMER: i32 = i32::from_be_bytes(*b"pgqC");

/// First key of who makes partitions; the second is a hash of `SCHEMA.PARENT`.
const PARTITIONS: i32 = i32::from_be_bytes(*b"pgqP");

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
    any_lock(db, "l.granted", schema, consumer)
}

/// Whether there is an entry for the lock of a consumer that meets a condition.
fn any_lock(
    db: &mut impl GenericClient,
    condition: &str,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            &format!(
                "select exists (select from pg_catalog.pg_locks l \
                 join pg_catalog.pg_database d on d.oid = l.database \
                 where l.locktype = 'advisory' and l.objsubid = 2 and {condition} \
                 and l.classid = $1::int4::oid and l.objid = hashtext($2)::oid \
                 and d.datname = current_database())"
            ),
            &[
                (&CONSUMER, Type::INT4),
                (&format!("{schema}.{consumer}"), Type::TEXT),
            ],
        )
        .during("look at the lock of the consumer")?;
    Ok(row.get(0))
}

/// Takes the lock as [`try_consumer`] does, and waits for it up to `patience`; false if it was not to be had.
/// Who holds it can find out that it is wanted, by [`is_consumer_wanted`], and give it back.
///
/// # Errors
/// The statement failed.
pub fn ask_for_consumer(
    db: &mut Connection,
    schema: &str,
    consumer: &ConsumerName,
    patience: Duration,
) -> Result<bool, Error> {
    // Zero would be for ever.
    let milliseconds = patience.as_millis().max(1).to_string();
    let mut tx = db.begin()?;
    tx.query_typed(
        "select pg_catalog.set_config('lock_timeout', $1, true)",
        &[(&milliseconds, Type::TEXT)],
    )
    .during("limit the wait for the lock of the consumer")?;
    let asked = tx
        .query_typed(
            "select pg_advisory_lock($1, hashtext($2))",
            &[
                (&CONSUMER, Type::INT4),
                (&format!("{schema}.{consumer}"), Type::TEXT),
            ],
        )
        .during("ask for the lock of the consumer");
    match asked {
        Ok(_) => {
            tx.commit()?;
            Ok(true)
        }
        Err(error) if error.sql_state() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            tx.rollback()?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether another process waits for the lock of a consumer, see [`ask_for_consumer`].
///
/// # Errors
/// The statement failed.
pub fn is_consumer_wanted(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    any_lock(db, "not l.granted", schema, consumer)
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

/// Waits until nobody else makes partitions of the parent, and keeps others from it to the end of the
/// transaction.
///
/// # Errors
/// The statement failed.
pub(crate) fn wait_partitions(
    db: &mut impl GenericClient,
    parent: &TableName,
) -> Result<(), DbError> {
    db.execute_typed(
        "select pg_advisory_xact_lock($1, hashtext($2))",
        &[(&PARTITIONS, Type::INT4), (&parent.to_string(), Type::TEXT)],
    )
    .during("wait for who makes partitions")?;
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
