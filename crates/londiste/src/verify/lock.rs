//! Making the writers of a table wait, in short attempts.

use std::time::{Duration, Instant};

use postgres::error::SqlState;
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::table::{self, RelationKind, TableName};

use super::fence::pause;
use crate::{Error, VerifyError};

/// A lock request waits this long at most, because all writers queue up behind it.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Time for the writers between two attempts.
const BREAK: Duration = Duration::from_millis(200);

/// Begins a transaction that locks the table; tries for `limit` altogether.
///
/// # Errors
/// Other transactions hold the table for longer.
pub(super) fn take(
    db: &mut Connection,
    name: &TableName,
    limit: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let relation = table::relation(&mut **db, name)?;
    // A lock on a partitioned table covers its partitions; children of a plain one are not compared.
    let only = match relation.kind {
        RelationKind::PartitionedTable => "",
        _ => "only ",
    };
    let sql = format!(
        "begin;
         set local idle_in_transaction_session_timeout = 0;
         set local lock_timeout = {};
         lock table {only}{} in share mode",
        ATTEMPT.as_millis(),
        name.quoted()
    );
    let start = Instant::now();
    loop {
        let Err(failure) = db.batch_execute(&sql).during("lock the table") else {
            return Ok(());
        };
        if failure.sql_state() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Err(failure.into());
        }
        db.batch_execute("rollback").during("end a transaction")?;
        if !limit.is_zero() && start.elapsed() > limit {
            return Err(VerifyError::Locked {
                table: name.to_string(),
                limit,
            }
            .into());
        }
        pause(stop, BREAK)?;
    }
}
