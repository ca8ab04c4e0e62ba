//! What a destination has applied: the tick stored there, and the verdict on a batch.

use postgres::types::Type;
use skytools::db::{During, GenericClient};
use skytools::quote;

use crate::batch::Batch;
use crate::{BatchId, ConsumerName, Error, TickId};

/// What to do with a batch, given the position at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not applied yet.
    Apply,
    /// Applied and committed, but not finished at the source.
    AlreadyApplied,
}

/// Compares a batch with the tick stored at the destination.
///
/// # Errors
/// [`Error::LostPosition`]: neither the batch's start nor its end.
pub fn check(batch: &Batch, stored: Option<TickId>) -> Result<Verdict, Error> {
    match stored {
        None => Ok(Verdict::Apply),
        Some(tick) if tick == batch.prev_tick => Ok(Verdict::Apply),
        Some(tick) if tick == batch.tick => Ok(Verdict::AlreadyApplied),
        Some(applied) => Err(Error::LostPosition {
            start: batch.prev_tick,
            end: batch.tick,
            applied,
        }),
    }
}

/// The last tick applied, kept by `SCHEMA.get_last_tick`: `pgq_ext` or `londiste`.
///
/// # Errors
/// The schema is missing.
pub fn last_tick(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<Option<TickId>, Error> {
    let row = db
        .query_typed_one(
            &format!("select {}.get_last_tick($1)", quote::ident(schema)),
            &[(consumer, Type::TEXT)],
        )
        .during("read the position at the destination")?;
    Ok(row.get(0))
}

/// Stores the last tick applied; `None` forgets it. Belongs into the transaction of the effects.
///
/// # Errors
/// The schema is missing.
pub fn set_last_tick(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
    tick: Option<TickId>,
) -> Result<(), Error> {
    db.query_typed_one(
        &format!("select {}.set_last_tick($1, $2)", quote::ident(schema)),
        &[(consumer, Type::TEXT), (&tick, Type::INT8)],
    )
    .during("store the position at the destination")?;
    Ok(())
}

/// Stores the last tick applied, if the one before it is still stored; false if not.
///
/// A guard against a process without the consumer's lock, and no more than that: two that do this
/// at the same moment both succeed.
///
/// # Errors
/// The schema is missing.
pub fn advance(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
    from: Option<TickId>,
    to: TickId,
) -> Result<bool, Error> {
    let schema = quote::ident(schema);
    let row = db
        .query_typed_one(
            &format!(
                "select case when {schema}.get_last_tick($1) is not distinct from $2 \
                 then {schema}.set_last_tick($1, $3) is not null else false end"
            ),
            &[
                (consumer, Type::TEXT),
                (&from, Type::INT8),
                (&to, Type::INT8),
            ],
        )
        .during("store the position at the destination")?;
    Ok(row.get(0))
}

/// Whether this was the last batch recorded by [`set_batch_done`] in `pgq_ext`.
///
/// # Errors
/// The schema is missing.
pub fn is_batch_done(
    db: &mut impl GenericClient,
    consumer: &ConsumerName,
    batch: BatchId,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq_ext.is_batch_done($1, $2)",
            &[(consumer, Type::TEXT), (&batch, Type::INT8)],
        )
        .during("read the last batch at the destination")?;
    Ok(row.get(0))
}

/// Records a batch as applied, in `pgq_ext`; false if it was already. Belongs into the transaction
/// of the effects.
///
/// # Errors
/// The schema is missing.
pub fn set_batch_done(
    db: &mut impl GenericClient,
    consumer: &ConsumerName,
    batch: BatchId,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq_ext.set_batch_done($1, $2)",
            &[(consumer, Type::TEXT), (&batch, Type::INT8)],
        )
        .during("record the batch at the destination")?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(prev_tick: i64, tick: i64) -> Batch {
        Batch {
            id: BatchId::from(1),
            prev_tick: TickId::from(prev_tick),
            tick: TickId::from(tick),
            end: jiff::Timestamp::UNIX_EPOCH.into(),
        }
    }

    #[test]
    fn a_batch_is_applied_on_the_first_run_and_after_its_predecessor() {
        assert_eq!(check(&batch(3, 5), None).unwrap(), Verdict::Apply);
        let stored = Some(TickId::from(3));
        assert_eq!(check(&batch(3, 5), stored).unwrap(), Verdict::Apply);
    }

    #[test]
    fn a_batch_that_is_applied_is_not_applied_twice() {
        let stored = Some(TickId::from(5));
        assert_eq!(
            check(&batch(3, 5), stored).unwrap(),
            Verdict::AlreadyApplied
        );
    }

    #[test]
    fn any_other_position_is_lost() {
        for stored in [2, 4, 6] {
            let error = check(&batch(3, 5), Some(TickId::from(stored))).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Lost position: batch 3..5, dst has {stored}")
            );
        }
    }
}
