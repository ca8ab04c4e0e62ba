//! Rows to the target while others are made.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{Scope, ScopedJoinHandle};

use skytools::copy_in;
use skytools::db::{DbError, During, Tx};

/// Loads that wait beside the one that is sent and the one that is made.
const WAITING: usize = 1;

/// A COPY ends behind so many bytes: only then the server says what it has refused.
const COPY_BYTES: usize = 16 * 1024 * 1024;

/// Sends rows to the target by COPY, on another thread than that of the one who makes them, and lends the target's
/// transaction in between.
///
/// Loads for the same statement one after another are one COPY. A row that the server refuses is an error of a later
/// call.
pub struct Courier<'scope, 'env, 't> {
    scope: &'scope Scope<'scope, 'env>,
    /// The transaction, as long as nothing is sent.
    here: Option<&'scope mut Tx<'t>>,
    /// Where to put what is to be sent, and the thread that has the transaction then.
    away: Option<(SyncSender<Load>, ScopedJoinHandle<'scope, Trip<'scope, 't>>)>,
    sent: HashMap<usize, u64>,
}

/// Rows for a statement.
struct Load {
    /// What they are counted for, if they are.
    number: Option<usize>,
    /// What they go to, for SQL, with its columns.
    table: String,
    columns: String,
    rows: Vec<u8>,
}

/// What comes back from the other thread.
struct Trip<'scope, 't> {
    target: &'scope mut Tx<'t>,
    /// How many rows were put in for which numbers.
    sent: HashMap<usize, u64>,
    result: Result<(), DbError>,
}

impl<'scope, 'env, 't> Courier<'scope, 'env, 't> {
    /// One whose thread ends within `scope`.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        target: &'env mut Tx<'t>,
    ) -> Courier<'scope, 'env, 't> {
        Courier {
            scope,
            here: Some(target),
            away: None,
            sent: HashMap::new(),
        }
    }

    /// Takes rows that are text of COPY along, for some columns of a table, both as SQL spells them; they are counted
    /// for `number`, if there is one.
    ///
    /// # Errors
    /// The server has refused some that it was sent before, or the connection is gone.
    pub fn send(
        &mut self,
        number: Option<usize>,
        table: &str,
        columns: &str,
        rows: Vec<u8>,
    ) -> Result<(), DbError> {
        let load = Load {
            number,
            table: table.to_owned(),
            columns: columns.to_owned(),
            rows,
        };
        let (loads, _) = match &mut self.away {
            Some(away) => away,
            None => {
                let target = self.here.take().expect("it is here if not away");
                let (loads, waiting) = mpsc::sync_channel(WAITING);
                let thread = self.scope.spawn(move || travel(target, &waiting));
                self.away.insert((loads, thread))
            }
        };
        match loads.send(load) {
            Ok(()) => Ok(()),
            // It has come back, and brings the reason.
            Err(_) => self.target().map(drop),
        }
    }

    /// The transaction, when all rows are sent.
    ///
    /// # Errors
    /// The server has refused some, or the connection is gone.
    pub fn target(&mut self) -> Result<&mut Tx<'t>, DbError> {
        if let Some((loads, thread)) = self.away.take() {
            drop(loads);
            let trip = thread.join().expect("sending does not panic");
            self.here = Some(trip.target);
            for (number, rows) in trip.sent {
                *self.sent.entry(number).or_default() += rows;
            }
            trip.result?;
        }
        let here = self.here.as_deref_mut();
        Ok(here.expect("it is here if not away"))
    }

    /// How many rows the server has put in for which numbers, as far as it was asked for the transaction since.
    pub fn sent(&mut self) -> HashMap<usize, u64> {
        std::mem::take(&mut self.sent)
    }
}

/// Sends what comes, until nothing more does or something fails.
fn travel<'scope, 't>(target: &'scope mut Tx<'t>, loads: &Receiver<Load>) -> Trip<'scope, 't> {
    let mut sent = HashMap::new();
    let mut next = loads.recv().ok();
    let mut result = Ok(());
    while let Some(load) = next.take()
        && result.is_ok()
    {
        let number = load.number;
        match copy(target, load, loads) {
            Ok((rows, behind)) => {
                if let Some(number) = number {
                    *sent.entry(number).or_default() += rows;
                }
                next = behind;
            }
            Err(error) => result = Err(error),
        }
    }
    Trip {
        target,
        sent,
        result,
    }
}

/// Sends rows and those behind them that go to the same place; returns how many they were, and what came else.
fn copy(
    target: &mut Tx<'_>,
    first: Load,
    loads: &Receiver<Load>,
) -> Result<(u64, Option<Load>), DbError> {
    let Load {
        number,
        table,
        columns,
        rows,
    } = first;
    let step = || format!("copy rows into {table}");
    let sql = format!("copy {table} ({columns}) from stdin");
    let mut writer = target.copy_in(&sql).during(step())?;
    let (mut rows, mut bytes) = (rows, 0);
    let behind = loop {
        copy_in::write(&mut writer, &rows).map_err(|error| DbError::in_copy(step(), error))?;
        bytes += rows.len();
        // No more is held than what waits.
        drop(rows);
        let next = loads.recv().ok();
        let is_like =
            |load: &Load| (load.number, &load.table, &load.columns) == (number, &table, &columns);
        match next {
            Some(load) if bytes < COPY_BYTES && is_like(&load) => rows = load.rows,
            other => break other,
        }
    };
    Ok((writer.finish().during(step())?, behind))
}
