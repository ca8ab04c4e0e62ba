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
    file: Option<RotatingFile>,
    stderr: bool,
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
    let file = file_of(config)?;
    with_sink(|sink| *sink = Some(Sink { file, stderr: true }));
    let subscriber = tracing_subscriber::registry()
        .with(level)
        .with(record::Records);
    // Set once per process; a second job of a test keeps the first level.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Opens the file of changed log keys, for [`Prepared::apply`] to take into use.
///
/// # Errors
/// The new file cannot be opened; the old one stays in use.
pub(crate) fn prepare(config: &CommonConfig) -> Result<Prepared, LogError> {
    Ok(Prepared {
        file: file_of(config)?,
    })
}

/// A log file that is open, but not in use yet.
pub(crate) struct Prepared {
    file: Option<RotatingFile>,
}

impl Prepared {
    /// Sends all records to the file from now on.
    pub(crate) fn apply(self) {
        with_sink(|sink| {
            if let Some(sink) = sink {
                sink.file = self.file;
            }
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

fn file_of(config: &CommonConfig) -> Result<Option<RotatingFile>, LogError> {
    let Some(path) = &config.logfile else {
        return Ok(None);
    };
    RotatingFile::open(path, config.log_size, config.log_count)
        .map(Some)
        .map_err(|source| LogError {
            path: path.clone(),
            source,
        })
}

fn with_sink<T>(f: impl FnOnce(&mut Option<Sink>) -> T) -> T {
    // A panic elsewhere is no reason to lose the log.
    f(&mut SINK.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes one record. Failures are nobody's business: there is no log to report them in.
fn write(level: tracing::Level, message: &str) {
    let now = Zoned::now();
    let line = record::layout(&now, std::process::id(), level, message);
    with_sink(|sink| {
        let Some(sink) = sink else { return };
        if let Some(file) = &mut sink.file {
            if REOPEN.swap(false, Ordering::Relaxed) {
                let _ = file.reopen();
            }
            let _ = file.write(line.as_bytes());
        }
        if sink.stderr {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    });
}
