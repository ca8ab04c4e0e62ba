//! A whole batch into one queue.

use std::ops::ControlFlow;

use pgq::QueueName;
use pgq::consumer::OpenBatch;
use pgq::mover::Report;
use pgq::mover::queue::{FIELDS, Outbox, Way};
use pgq::producer::Field;
use skytools::db::Tx;
use skytools::full_copy::{CopyError, FullCopy};
use skytools::table::TableName;

use crate::Error;

/// Puts the events of a batch into a queue, in their order; returns how many.
///
/// # Errors
/// The source failed, or the target refuses.
pub(crate) fn transfer(
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    queue: &QueueName,
    way: Way,
    report: &mut Report,
) -> Result<u64, Error> {
    if let Way::Copy(table) = &way {
        return copy(batch, target, table, report);
    }
    let mut outbox = Outbox::new(queue.clone(), way);
    let mut sent = 0;
    batch.for_each(|event| {
        if outbox.put(event) {
            sent += outbox.send(target)?;
            report.progress(sent);
        }
        Ok::<(), Error>(())
    })?;
    sent += outbox.send(target)?;
    Ok(sent)
}

/// From one server to the other, without a look at the events.
fn copy(
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    table: &TableName,
    report: &mut Report,
) -> Result<u64, Error> {
    let columns = FIELDS.map(Field::column);
    let (mut source, query) = batch.query(&columns)?;
    let copied = FullCopy::new(table)
        .of_query(&query)
        .columns(&columns)
        .run(&mut source, target, |copied| {
            report.progress(copied.rows);
            ControlFlow::Continue(())
        })
        .map_err(copy_error)?;
    source.rollback()?;
    batch.counted(i64::try_from(copied.rows).unwrap_or(i64::MAX));
    Ok(copied.rows)
}

fn copy_error(error: CopyError) -> Error {
    match error {
        CopyError::Source(error) | CopyError::Target(error) => error.into(),
        CopyError::ColumnCount | CopyError::Stopped | CopyError::Rewrite(_) => {
            unreachable!("both sides have the same columns, and nobody stops the copy")
        }
    }
}
