//! The transaction on the subscriber, at work on one run of events while the next is planned.

use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use skytools::db::{DbError, Tx, out_of_locks_on};
use tracing::debug;

use super::setwise::{Failure, Statements};
use crate::Error;
use crate::replay::chunk::{Chunk, EventRef};

/// The transaction that events are applied in. A thread has it while it runs [`Statements`].
pub(crate) struct Line<'scope, 'env, 'tx> {
    scope: &'scope Scope<'scope, 'env>,
    state: State<'scope, 'env, 'tx>,
}

enum State<'scope, 'env, 'tx> {
    Idle(&'env mut Tx<'tx>),
    Busy(RunEvents, ScopedJoinHandle<'scope, Ended<'env, 'tx>>),
    /// An error has ended the work.
    Lost,
}

/// The transaction when a run has ended, and how.
type Ended<'env, 'tx> = (&'env mut Tx<'tx>, Result<(), Failure>);

/// The events of a run, in their order.
#[derive(Debug)]
pub(super) struct RunEvents {
    chunk: Arc<Chunk>,
    /// The table of each, and its place in the chunk.
    places: Vec<(usize, usize)>,
}

impl RunEvents {
    pub(super) fn new(chunk: &Arc<Chunk>, events: &[(usize, EventRef<'_>)]) -> RunEvents {
        RunEvents {
            chunk: Arc::clone(chunk),
            places: (events.iter())
                .map(|(table, event)| (*table, event.place()))
                .collect(),
        }
    }

    /// Tables and their events.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, EventRef<'_>)> {
        let event = |(table, place): &(usize, usize)| (*table, self.chunk.event(*place));
        self.places.iter().map(event)
    }
}

impl<'scope, 'env, 'tx> Line<'scope, 'env, 'tx> {
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        tx: &'env mut Tx<'tx>,
    ) -> Line<'scope, 'env, 'tx> {
        Line {
            scope,
            state: State::Idle(tx),
        }
    }

    /// The transaction, which has nothing to do: [`Line::wait`] comes before.
    pub(super) fn tx(&mut self) -> &mut Tx<'tx> {
        match &mut self.state {
            State::Idle(tx) => tx,
            State::Busy(..) | State::Lost => unreachable!("the line was waited for"),
        }
    }

    /// Waits until the transaction has nothing to do. Returns a run of which nothing was done, and which has to be
    /// applied in another way.
    ///
    /// # Errors
    /// The connection is gone, or the server has no room for more locks.
    pub(super) fn wait(&mut self) -> Result<Option<RunEvents>, DbError> {
        if !matches!(self.state, State::Busy(..)) {
            return Ok(None);
        }
        let State::Busy(run, thread) = std::mem::replace(&mut self.state, State::Lost) else {
            return Ok(None);
        };
        let (tx, done) = thread.join().expect("running statements does not panic");
        self.state = State::Idle(tx);
        match done {
            Ok(()) => Ok(None),
            Err(Failure::Db(error)) if error.is_connection_lost() => Err(error),
            // One by one, they take the same locks.
            Err(Failure::Db(error)) if out_of_locks_on(&error).is_some() => Err(error),
            Err(failure) => {
                debug!(?failure, "events are applied one by one");
                Ok(Some(run))
            }
        }
    }

    /// Begins to run statements: all of them, or, if one fails, none. [`Line::wait`] comes before.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        &mut self,
        run: RunEvents,
        statements: Statements,
        exact: bool,
    ) -> Result<(), Error> {
        let State::Idle(tx) = std::mem::replace(&mut self.state, State::Lost) else {
            unreachable!("the line was waited for");
        };
        let work = move || {
            let done = tx.savepoint(|tx| statements.run(tx, exact));
            (tx, done)
        };
        let thread = Builder::new()
            .name("apply".to_owned())
            .spawn_scoped(self.scope, work)
            .map_err(Error::Thread)?;
        self.state = State::Busy(run, thread);
        Ok(())
    }
}
