//! Log set-up: the record layout of SkyTools, to a rotated file and to stderr.
//!
//! ```text
//! 2012-03-13 10:15:02,037 4711 INFO {count: 3, duration: 0.0123}
//! 2012-03-13 10:15:22,101 4711 INFO queue is in place queue=orders created=true
//! ```
//!
//! A record with fields shows them after its message, and those of its spans after them. A record
//! without fields is a message whose text is fixed; it is written as it is, unless it is for
//! debugging.
//!
//! One synchronous writer: it survives the fork. Records that libraries send through the `log`
//! crate, such as the driver's notices, have no way in here.

mod file;
pub(crate) mod format;
mod record;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Zoned;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::app::CommonArgs;
use crate::config::CommonConfig;
use file::RotatingFile;
use format::{Layout, Record};

/// Why a log file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open log file {}", path.display())]
pub struct LogError {
    path: PathBuf,
    source: std::io::Error,
}

/// Where records go; `None` until a log is open.
static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Set when the file shall be opened again before the next record.
static REOPEN: AtomicBool = AtomicBool::new(false);

struct Sink {
    job: String,
    file: Option<RotatingFile>,
    file_layout: Layout,
    stderr: bool,
    stderr_layout: Layout,
}

/// Opens the log of a job: stderr, and the file if one is configured.
///
/// # Errors
/// The file cannot be opened: its directory does not exist, say.
pub(crate) fn open(args: &CommonArgs, config: &CommonConfig) -> Result<(), LogError> {
    let level = match (args.verbose, args.quiet) {
        (0, false) => LevelFilter::INFO,
        (0, true) => LevelFilter::WARN,
        (1, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let prepared = prepare(config)?;
    with_sink(|sink| *sink = Some(prepared.0));
    let subscriber = tracing_subscriber::registry()
        .with(level)
        .with(record::Records);
    // Set once per process; a second job of a test keeps the first level.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Opens the file that changed keys name, for [`Prepared::apply`] to take into use.
///
/// # Errors
/// The new file cannot be opened; the old one stays in use.
pub(crate) fn prepare(config: &CommonConfig) -> Result<Prepared, LogError> {
    let file = match &config.logfile {
        Some(path) => {
            let file = RotatingFile::open(path, config.log_size, config.log_count);
            Some(file.map_err(|source| LogError {
                path: path.clone(),
                source,
            })?)
        }
        None => None,
    };
    Ok(Prepared(Sink {
        job: config.job_name.clone(),
        file,
        file_layout: config.file_layout.clone(),
        stderr: true,
        stderr_layout: config.stderr_layout.clone(),
    }))
}

/// A log that is open, but not in use yet.
pub(crate) struct Prepared(Sink);

impl Prepared {
    /// Sends all records there from now on.
    pub(crate) fn apply(self) {
        with_sink(|sink| {
            let stderr = sink.as_ref().is_some_and(|old| old.stderr);
            *sink = Some(Sink { stderr, ..self.0 });
        });
    }
}

/// Stops writing to stderr, for a process that has none.
pub(crate) fn leave_stderr() {
    with_sink(|sink| {
        if let Some(sink) = sink {
            sink.stderr = false;
        }
    });
}

/// Asks for the file to be opened again before the next record: it may have been moved away.
pub(crate) fn request_reopen() {
    REOPEN.store(true, Ordering::Relaxed);
}

/// Whether records reach anyone.
pub(crate) fn is_open() -> bool {
    with_sink(|sink| sink.is_some())
}

fn with_sink<T>(f: impl FnOnce(&mut Option<Sink>) -> T) -> T {
    // A panic elsewhere is no reason to lose the log.
    f(&mut SINK.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes one record. Failures are nobody's business: there is no log to report them in.
fn write(level: tracing::Level, message: &str) {
    let time = Zoned::now();
    with_sink(|sink| {
        let Some(sink) = sink else { return };
        let record = Record {
            time: &time,
            process: std::process::id(),
            level,
            job: &sink.job,
            message,
        };
        if let Some(file) = &mut sink.file {
            if REOPEN.swap(false, Ordering::Relaxed) {
                let _ = file.reopen();
            }
            let _ = file.write(sink.file_layout.line(&record).as_bytes());
        }
        if sink.stderr {
            let line = sink.stderr_layout.line(&record);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    });
}
