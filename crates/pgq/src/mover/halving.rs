//! Batches of which the target refuses some rows, where the configuration says that these are bad events.
//!
//! A statement applies many events, and the server does not say which of them it fails at. So a part of a batch that is
//! refused is undone, and each of its halves applied by itself, until a single event is left. One such event among a
//! million takes some twenty tries, which together apply about twice as much as the batch holds.

use skytools::app::chain;
use skytools::db::{During, Tx, sql_state_of};
use tracing::debug;

use super::row::{Reason, Rows};
use super::{Mover, Report};
use crate::consumer::{OpenBatch, savepoint};
use crate::{Error, EventId};

/// What rows can be refused for, by the first two letters of the server's code: their values, a constraint, a trigger, a
/// view's condition, or a limit of the server.
const REFUSALS: [&str; 5] = ["22", "23", "P0", "44", "54"];

/// Events from one number to another.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: i64,
    last: i64,
}

/// An event that the target refuses, and why.
struct Refusal {
    event: EventId,
    reason: String,
}

/// Applies a batch without the events that the target refuses, if the configuration gives these up.
pub(super) fn apply<M: Mover>(
    mover: &mut M,
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    report: &mut Report,
) -> Result<(), M::Error> {
    let limit = mover.rows().map_or(0, Rows::row_limit);
    if limit == 0 {
        return mover.apply(batch, target, report);
    }
    let applied = apply_parts(mover, batch, target, report, limit);
    batch.restrict(None);
    applied
}

fn apply_parts<M: Mover>(
    mover: &mut M,
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    report: &mut Report,
    limit: usize,
) -> Result<(), M::Error> {
    let mut refusals = Vec::new();
    let mut count = 0;
    // What is left, the first part on top.
    let mut todo = vec![Span::ALL];
    while let Some(span) = todo.pop() {
        batch.restrict(span.condition());
        let before = report.clone();
        let applied = savepoint(target, |target| mover.apply(batch, target, report));
        let Err(error) = applied else {
            count += batch.count();
            if !todo.is_empty() {
                forget_temporary_tables(target)?;
            }
            continue;
        };
        let (true, Some((first, last))) = (is_refusal(&error), batch.seen()) else {
            return Err(error);
        };
        *report = before;
        todo.extend(span.after(last));
        if first < last {
            debug!("events {first} to {last} are refused, trying them in halves");
            todo.extend(Span::halves(first, last));
            continue;
        }
        let reason = chain(&error);
        if refusals.len() == limit {
            return Err(Error::ManyRefused {
                limit,
                event: first,
                reason,
            }
            .into());
        }
        refusals.push(Refusal {
            event: first,
            reason,
        });
    }
    if !refusals.is_empty() {
        count += give_up(mover, batch, target, report, &refusals)?;
    }
    batch.counted(count);
    Ok(())
}

/// Does with the events what the configuration says; returns how many they are.
fn give_up<M: Mover>(
    mover: &M,
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    report: &mut Report,
    refusals: &[Refusal],
) -> Result<i64, Error> {
    let Some(rows) = mover.rows() else {
        return Ok(0);
    };
    let ids: Vec<String> = refusals.iter().map(|one| one.event.to_string()).collect();
    batch.restrict(Some(format!("ev_id in ({})", ids.join(", "))));
    let mut refused = rows.refused();
    batch.stream(|event| {
        let refusal = refusals.iter().find(|one| one.event == event.id);
        let reason = refusal.map_or_else(String::new, |one| one.reason.clone());
        refused.take(&event, &Reason::Other(reason), target, report)
    })?;
    refused.finish(target)?;
    Ok(batch.count())
}

/// Drops the temporary tables of a part of the batch: the next one makes them again.
fn forget_temporary_tables(target: &mut Tx<'_>) -> Result<(), Error> {
    let dropped = target.batch_execute("discard temporary");
    Ok(dropped.during("drop temporary tables")?)
}

/// Whether the server refused a row, and not the way it was sent.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let state = sql_state_of(error);
    state.is_some_and(|state| REFUSALS.iter().any(|class| state.code().starts_with(class)))
}

impl Span {
    /// All events.
    const ALL: Span = Span {
        first: i64::MIN,
        last: i64::MAX,
    };

    /// What holds for the events of the span only; `None` if it is all.
    fn condition(self) -> Option<String> {
        let Span { first, last } = self;
        let is_all = first == i64::MIN && last == i64::MAX;
        (!is_all).then(|| format!("ev_id between {first} and {last}"))
    }

    /// The part behind an event.
    fn after(self, event: EventId) -> Option<Span> {
        let first = event.get().checked_add(1)?;
        let Span { last, .. } = self;
        (first <= last).then_some(Span { first, last })
    }

    /// Both halves of the span between two events, the second one first.
    fn halves(first: EventId, last: EventId) -> [Span; 2] {
        let (first, last) = (first.get(), last.get());
        // Towards zero, whatever the sign.
        let middle = first.midpoint(last).min(last - 1);
        [
            Span {
                first: middle + 1,
                last,
            },
            Span {
                first,
                last: middle,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_everything_once() {
        for (first, last) in [
            (1, 2),
            (1, 3),
            (-1, 0),
            (-3, 0),
            (5, 1_000_000),
            (-1, i64::MAX),
        ] {
            let [second, half] = Span::halves(first.into(), last.into());
            assert_eq!((half.first, second.last), (first, last));
            assert_eq!(half.last + 1, second.first);
            assert!(half.last >= first && half.last < last);
        }
    }

    #[test]
    fn what_comes_behind_an_event_ends_where_the_span_does() {
        let span = Span { first: 1, last: 9 };
        let after = |event: i64| span.after(event.into()).map(|span| (span.first, span.last));
        assert_eq!(after(4), Some((5, 9)));
        assert_eq!(after(9), None);
        assert_eq!(Span::ALL.after(i64::MAX.into()).map(|span| span.last), None);
        assert_eq!(Span::ALL.condition(), None);
        assert_eq!(span.condition().unwrap(), "ev_id between 1 and 9");
    }
}
