//! Breaks a copy off when its table is removed or reset meanwhile, and tells how far it is.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{Database, During};
use tracing::{debug, info};

use super::progress::Progress;
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

/// Time between two notes of the progress.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// Runs `work`; when the table is removed or reset meanwhile, `work` is told by its argument and loses
/// its session, however long a statement it is in.
pub(crate) fn while_wanted<T>(
    database: &mut Database,
    watched: Watched<'_>,
    work: impl FnOnce(&Progress) -> T,
) -> T {
    let progress = Progress::default();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let progress = &progress;
        scope.spawn(move || {
            let mut notes = Notes::default();
            while wait.recv_timeout(watched.poll) == Err(RecvTimeoutError::Timeout) {
                let wanted = look(database, watched, progress);
                let noted = wanted.and_then(|wanted| {
                    notes.note(database, watched, progress)?;
                    Ok(wanted)
                });
                match noted {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        debug!("cannot watch {}: {error}", watched.table);
                        database.reset();
                    }
                }
            }
            notes.remove(database, watched);
        });
        let result = work(progress);
        drop(done);
        result
    })
}

/// Whether the table is still wanted; ends the copying session if it is not.
fn look(database: &mut Database, watched: Watched<'_>, progress: &Progress) -> Result<bool, Error> {
    let connection = database.connection()?;
    let wanted = state::tables(connection, watched.queue)?
        .into_iter()
        .any(|table| table.name == watched.table && table.state != MergeState::New);
    if !wanted {
        info!("{} is not to be copied any more", watched.table);
        progress.give_up();
        connection
            .query_typed(
                "select pg_terminate_backend($1)",
                &[(&watched.backend, Type::INT4)],
            )
            .during("end the session that copies")?;
    }
    Ok(wanted)
}

/// What other sessions read about the progress.
#[derive(Debug)]
struct Notes {
    next: Instant,
    written: bool,
    /// The schema is of a version that has no place for them.
    unknown: bool,
}

impl Default for Notes {
    fn default() -> Notes {
        // What is over sooner is not worth a note.
        Notes {
            next: Instant::now() + NOTE_EVERY,
            written: false,
            unknown: false,
        }
    }
}

impl Notes {
    fn note(
        &mut self,
        database: &mut Database,
        watched: Watched<'_>,
        progress: &Progress,
    ) -> Result<(), Error> {
        if self.unknown || Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + NOTE_EVERY;
        let now = progress.now();
        let stored = database.connection()?.query_typed(
            "select londiste.set_copy_progress($1, $2, $3, $4, $5, $6, $7)",
            &[
                (watched.queue, Type::TEXT),
                (&watched.table, Type::TEXT),
                (&now.phase, Type::TEXT),
                (&now.rows.cast_signed(), Type::INT8),
                (&now.bytes.cast_signed(), Type::INT8),
                (&now.expected.map(u64::cast_signed), Type::INT8),
                (&now.seconds, Type::FLOAT8),
            ],
        );
        match stored.during("note the progress of the copy") {
            Ok(_) => self.written = true,
            Err(error) if error.sql_state() == Some(&SqlState::UNDEFINED_FUNCTION) => {
                self.unknown = true;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes the notes away; old ones are ignored, should that fail.
    fn remove(&self, database: &mut Database, watched: Watched<'_>) {
        if !self.written {
            return;
        }
        let removed = database.connection().and_then(|db| {
            db.query_typed(
                "select londiste.set_copy_progress($1, $2, null, null, null, null, null)",
                &[(watched.queue, Type::TEXT), (&watched.table, Type::TEXT)],
            )
            .during("remove the progress of the copy")
        });
        if let Err(error) = removed {
            debug!("{error}");
        }
    }
}
