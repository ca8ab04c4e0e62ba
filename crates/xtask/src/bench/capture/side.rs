//! One way to capture in a database of its own, beside the others on the same server.

use postgres::{Client, Statement};

use super::super::Common;
use super::super::measure::Backend;
use super::super::stand::Stand;
use super::variants::How;
use super::{Mode, Workload};
use crate::Result;

/// Transactions of each operation before the first that counts.
const WARM: i32 = 200;
/// Transactions of each operation whose cost is taken together.
const BLOCK: i32 = 200;
/// Rows that the first statements of sessions find.
const ROWS: i32 = 1_000;

/// A variant, ready to write.
pub(super) struct Side<'a> {
    stand: &'a Stand,
    common: &'a Common,
    workload: Workload,
    how: How,
    database: &'a str,
    /// The session that writes single rows.
    writer: Option<Writer>,
    /// Key of the next row.
    next: i32,
}

/// A session with its prepared statements.
struct Writer {
    db: Client,
    backend: Backend,
    statements: Vec<Statement>,
}

impl<'a> Side<'a> {
    /// Creates a table that is captured, anew if there is one from another workload.
    pub(super) fn prepare(
        stand: &'a Stand,
        common: &'a Common,
        workload: Workload,
        how: How,
        database: &'a str,
    ) -> Result<Side<'a>> {
        let mut side = Side {
            stand,
            common,
            workload,
            how,
            database,
            writer: None,
            next: 1,
        };
        side.capture()?;
        let mut db = stand.connect(database)?;
        if workload.mode == Mode::First {
            let [insert, ..] = workload.table.bulk(ROWS);
            db.batch_execute(&insert)?;
        }
        // Statistics are there, as in a database that has been in use.
        db.batch_execute("vacuum analyze")?;
        if workload.mode == Mode::Single {
            let mut db = stand.connect(database)?;
            let writer = Writer {
                backend: Backend::of(&mut db)?,
                statements: workload
                    .table
                    .single
                    .iter()
                    .map(|statement| db.prepare(statement))
                    .collect::<Result<_, _>>()?,
                db,
            };
            side.writer = Some(writer);
            side.single(common.size(WARM, 10))?;
        }
        Ok(side)
    }

    /// Writes a block. Returns what a row cost the server's process per operation, in microseconds.
    pub(super) fn block(&mut self) -> Result<Vec<f64>> {
        match self.workload.mode {
            Mode::Bulk => self.bulk(self.common.size(50_000, 1_000)),
            Mode::Single => self.single(self.common.size(BLOCK, 10)),
            Mode::First => self.first(),
        }
    }

    fn capture(&self) -> Result {
        let table = self.workload.table;
        let format = self.workload.format;
        let mut db = self.stand.connect(self.database)?;
        if matches!(self.how, How::Ours(..)) {
            db.execute(
                "select pgq.drop_capture(c.cap_relid, c.cap_trigger) from pgq.capture c",
                &[],
            )?;
        }
        db.batch_execute(&format!(
            "drop table if exists acc, wide; {};
             select pgq.drop_queue('q', true) from pgq.queue where queue_name = 'q';
             select pgq.create_queue('q')",
            table.create,
        ))?;
        match self.how {
            How::Nothing => {}
            How::C | How::Naive => db.batch_execute(&format!(
                "create trigger capture after insert or update or delete on {}
                     for each row execute function pgq.{}('q')",
                table.name,
                format.function()
            ))?,
            How::Ours(level, arguments) => db.batch_execute(&format!(
                "select pgq.create_capture('{}', 'capture', '{}', '{level}', array['q'{arguments}])",
                table.name,
                format.name()
            ))?,
        }
        Ok(())
    }

    /// How many rows to write where other variants write `rows`: the naive trigger is slow enough to be
    /// seen in few.
    fn few(&self, rows: i32) -> i32 {
        if self.how == How::Naive {
            (rows / 20).max(1)
        } else {
            rows
        }
    }

    /// By one statement for each operation, to fresh tables, in a fresh session whose plans are made for
    /// three rows.
    fn bulk(&self, rows: i32) -> Result<Vec<f64>> {
        self.capture()?;
        let rows = self.few(rows);
        let mut db = self.stand.connect(self.database)?;
        for statement in self.workload.table.bulk(3) {
            db.batch_execute(&statement)?;
        }
        let backend = Backend::of(&mut db)?;
        self.workload
            .table
            .bulk(rows)
            .iter()
            .map(|statement| per_row(backend, rows, || Ok(db.batch_execute(statement)?)))
            .collect()
    }

    /// By a transaction for each row and operation.
    fn single(&mut self, rows: i32) -> Result<Vec<f64>> {
        let rows = self.few(rows);
        let keys = self.next..self.next + rows;
        self.next = keys.end;
        let writer = self.writer.as_mut().ok_or("no session")?;
        let mut costs = Vec::new();
        for statement in &writer.statements {
            costs.push(per_row(writer.backend, rows, || {
                for key in keys.clone() {
                    writer.db.execute(statement, &[&key])?;
                }
                Ok(())
            })?);
        }
        Ok(costs)
    }

    /// One row by the first statement of a session.
    fn first(&mut self) -> Result<Vec<f64>> {
        let update = self.workload.table.single[1].replace("$1", &self.next.to_string());
        self.next = self.next % ROWS + 1;
        let mut db = self.stand.connect(self.database)?;
        let backend = Backend::of(&mut db)?;
        Ok(vec![per_row(
            backend,
            1,
            || Ok(db.batch_execute(&update)?),
        )?])
    }
}

/// Processor time of a row, in microseconds.
fn per_row(backend: Backend, rows: i32, write: impl FnOnce() -> Result) -> Result<f64> {
    let before = backend.cpu()?;
    write()?;
    Ok((backend.cpu()? - before) / f64::from(rows) * 1e6)
}
