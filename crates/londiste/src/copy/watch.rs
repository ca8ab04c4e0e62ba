//! Breaks a copy off when its table is removed or reset meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{Database, During};
use tracing::{debug, info};

use crate::Error;
use crate::replay::state::{self, MergeState};

/// What to watch, and whom to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) table: &'a str,
    /// Server process of the session that copies.
    pub(crate) backend: i32,
    pub(crate) poll: Duration,
}

/// Runs `work`; when the table is removed or reset meanwhile, `work` sees its argument become true
/// and loses its session, however long a statement it is in.
pub(crate) fn while_wanted<T>(
    database: &mut Database,
    watched: Watched<'_>,
    work: impl FnOnce(&AtomicBool) -> T,
) -> T {
    let unwanted = AtomicBool::new(false);
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let unwanted = &unwanted;
        scope.spawn(move || {
            while wait.recv_timeout(watched.poll) == Err(RecvTimeoutError::Timeout) {
                match look(database, watched, unwanted) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        debug!("cannot watch {}: {error}", watched.table);
                        database.reset();
                    }
                }
            }
        });
        let result = work(unwanted);
        drop(done);
        result
    })
}

/// Whether the table is still wanted; ends the copying session if it is not.
fn look(
    database: &mut Database,
    watched: Watched<'_>,
    unwanted: &AtomicBool,
) -> Result<bool, Error> {
    let connection = database.connection()?;
    let wanted = state::tables(connection, watched.queue)?
        .into_iter()
        .any(|table| table.name == watched.table && table.state != MergeState::New);
    if !wanted {
        info!("{} is not to be copied any more", watched.table);
        unwanted.store(true, Ordering::Relaxed);
        connection
            .query_typed(
                "select pg_terminate_backend($1)",
                &[(&watched.backend, Type::INT4)],
            )
            .during("end the session that copies")?;
    }
    Ok(wanted)
}
