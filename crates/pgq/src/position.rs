//! What a destination has applied: the tick stored there, and the verdict on a batch.

use postgres::types::{ToSql, Type};
use skytools::db::{During, GenericClient};
use skytools::quote;

use crate::batch::{Batch, EventTime};
use crate::{BatchId, ConsumerName, Error, TickId};

/// What to do with a batch, given the position at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not applied yet.
    Apply,
    /// Applied and committed, but not finished at the source.
    AlreadyApplied,
}

/// The tick that a destination has applied last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub tick: TickId,
    /// When the source made it; `None` if whoever stored the number did not tell.
    ///
    /// A source that was restored to an older state, or whose standby took over before it had everything, gives the
    /// numbers of the ticks that it has lost to others.
    pub time: Option<EventTime>,
}

impl From<TickId> for Position {
    fn from(tick: TickId) -> Position {
        Position { tick, time: None }
    }
}

impl Position {
    /// Makes sure that the tick which the source has under this number, made at `found`, is this one.
    ///
    /// # Errors
    /// [`Error::OtherTick`]: it is not.
    pub fn insist(self, found: EventTime) -> Result<(), Error> {
        match self.time {
            Some(known) if known != found => Err(Error::OtherTick {
                tick: self.tick,
                known,
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// Compares a batch with the position stored at the destination.
///
/// # Errors
/// [`Error::LostPosition`]: neither the batch's start nor its end. [`Error::OtherTick`]: one of them by its number alone.
pub fn check(batch: &Batch, stored: Option<Position>) -> Result<Verdict, Error> {
    let Some(position) = stored else {
        return Ok(Verdict::Apply);
    };
    let (verdict, time) = match position.tick {
        tick if tick == batch.prev_tick => (Verdict::Apply, batch.start),
        tick if tick == batch.tick => (Verdict::AlreadyApplied, batch.end),
        applied => {
            return Err(Error::LostPosition {
                start: batch.prev_tick,
                end: batch.tick,
                applied,
            });
        }
    };
    position.insist(time)?;
    Ok(verdict)
}

/// Functions by which a schema keeps the time of a tick beside its number: `pgq_ext` of version 3.3 has them.
pub const TIMES_OF_TICKS: &[&str] = &[
    "get_last_tick_time(text)",
    "set_last_tick(text,text,bigint,timestamptz)",
];

/// Those for batches.
pub const TIMES_OF_BATCHES: &[&str] = &[
    "is_batch_done(text,text,bigint,timestamptz)",
    "set_batch_done(text,text,bigint,timestamptz)",
];

/// Whether the schema has these functions, and the role may call them.
///
/// # Errors
/// The statement failed.
pub fn keeps_times(
    db: &mut impl GenericClient,
    schema: &str,
    functions: &[&str],
) -> Result<bool, Error> {
    let schema = quote::ident(schema);
    let names = functions.iter().map(|name| format!("{schema}.{name}"));
    let row = db
        .query_typed_one(
            "select bool_and(coalesce(pg_catalog.has_function_privilege( \
                        pg_catalog.to_regprocedure(f)::oid, 'execute'), false)) \
             from pg_catalog.unnest($1) f",
            &[(&names.collect::<Vec<String>>(), Type::TEXT_ARRAY)],
        )
        .during("look whether the destination keeps times")?;
    Ok(row.get(0))
}

/// The tick applied last, with its time if the schema [keeps](keeps_times) that.
///
/// # Errors
/// The schema is missing.
pub fn stored(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
    times: bool,
) -> Result<Option<Position>, Error> {
    let schema = quote::ident(schema);
    let time = match times {
        true => format!("{schema}.get_last_tick_time($1)"),
        false => "null::timestamptz".to_owned(),
    };
    let row = db
        .query_typed_one(
            &format!("select {schema}.get_last_tick($1), {time}"),
            &[(consumer, Type::TEXT)],
        )
        .during("read the position at the destination")?;
    let tick: Option<TickId> = row.get(0);
    Ok(tick.map(|tick| Position {
        tick,
        time: row.get(1),
    }))
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

/// Stores the last tick applied, if the one before it is still stored; false if not. Its time goes along, where the
/// schema [keeps](keeps_times) it: elsewhere it has to be `None`.
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
    to: Position,
) -> Result<bool, Error> {
    let schema = quote::ident(schema);
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (consumer, Type::TEXT),
        (&from, Type::INT8),
        (&to.tick, Type::INT8),
    ];
    let set = match &to.time {
        Some(time) => {
            parameters.push((time, Type::TIMESTAMPTZ));
            "set_last_tick($1, '', $3, $4)"
        }
        None => "set_last_tick($1, $3)",
    };
    let row = db
        .query_typed_one(
            &format!(
                "select case when {schema}.get_last_tick($1) is not distinct from $2 \
                 then {schema}.{set} is not null else false end"
            ),
            &parameters,
        )
        .during("store the position at the destination")?;
    Ok(row.get(0))
}

/// Whether this was the last batch recorded by [`set_batch_done`] in `pgq_ext`. `end`: the time of its last tick, where
/// the schema [keeps](keeps_times) it, to tell it from another batch of its number.
///
/// # Errors
/// The schema is missing.
pub fn is_batch_done(
    db: &mut impl GenericClient,
    consumer: &ConsumerName,
    batch: BatchId,
    end: Option<EventTime>,
) -> Result<bool, Error> {
    of_batch(db, "is_batch_done", consumer, batch, end)
        .during("read the last batch at the destination")
        .map_err(Error::from)
}

/// Records a batch as applied, in `pgq_ext`; false if it was already. Belongs into the transaction
/// of the effects. `end`: as of [`is_batch_done`].
///
/// # Errors
/// The schema is missing.
pub fn set_batch_done(
    db: &mut impl GenericClient,
    consumer: &ConsumerName,
    batch: BatchId,
    end: Option<EventTime>,
) -> Result<bool, Error> {
    of_batch(db, "set_batch_done", consumer, batch, end)
        .during("record the batch at the destination")
        .map_err(Error::from)
}

/// What a function of `pgq_ext` says of a batch.
fn of_batch(
    db: &mut impl GenericClient,
    function: &str,
    consumer: &ConsumerName,
    batch: BatchId,
    end: Option<EventTime>,
) -> Result<bool, postgres::Error> {
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(consumer, Type::TEXT), (&batch, Type::INT8)];
    let arguments = match &end {
        Some(end) => {
            parameters.push((end, Type::TIMESTAMPTZ));
            "$1, '', $2, $3"
        }
        None => "$1, $2",
    };
    let row = db.query_typed_one(
        &format!("select pgq_ext.{function}({arguments})"),
        &parameters,
    )?;
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
            start: time(prev_tick),
            end: time(tick),
        }
    }

    /// When a tick was made.
    fn time(tick: i64) -> EventTime {
        jiff::Timestamp::new(tick, 0).unwrap().into()
    }

    /// A tick without its time.
    fn stored(tick: i64) -> Option<Position> {
        Some(Position::from(TickId::from(tick)))
    }

    #[test]
    fn a_batch_is_applied_on_the_first_run_and_after_its_predecessor() {
        assert_eq!(check(&batch(3, 5), None).unwrap(), Verdict::Apply);
        assert_eq!(check(&batch(3, 5), stored(3)).unwrap(), Verdict::Apply);
    }

    #[test]
    fn a_batch_that_is_applied_is_not_applied_twice() {
        assert_eq!(
            check(&batch(3, 5), stored(5)).unwrap(),
            Verdict::AlreadyApplied
        );
    }

    #[test]
    fn any_other_position_is_lost() {
        for tick in [2, 4, 6] {
            let error = check(&batch(3, 5), stored(tick)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Lost position: batch 3..5, dst has {tick}")
            );
        }
    }

    #[test]
    fn a_tick_that_has_only_the_number_of_the_applied_one_is_another() {
        for (tick, verdict) in [(3, Verdict::Apply), (5, Verdict::AlreadyApplied)] {
            let at = |seconds| {
                let tick = TickId::from(tick);
                let time = Some(time(seconds));
                check(&batch(3, 5), Some(Position { tick, time }))
            };
            assert_eq!(at(tick).unwrap(), verdict);
            let error = at(tick + 1).unwrap_err();
            assert!(matches!(error, Error::OtherTick { .. }), "{error}");
        }
    }
}
