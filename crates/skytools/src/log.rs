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
//! With `use_skylog` records go where the central `skylog.ini` says instead of to stderr.
//!
//! One synchronous writer: it survives the fork. Records that libraries send through the `log`
//! crate, such as the driver's notices, have no way in here.

pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod host;
mod record;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Zoned;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::app::CommonArgs;
use crate::config::{CommonConfig, ConfigError};
use crate::skylog::Skylog;
use file::RotatingFile;
use format::{Layout, Record};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A log file cannot be opened.
    #[error("cannot open log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `use_skylog` is set, and none of the places has the file.
    #[error("skylog.ini not found!")] // text fixed by the reference
    NoSkylog,
    /// `skylog.ini` cannot be used.
    #[error(transparent)]
    Skylog(#[from] ConfigError),
}

/// Where records go; `None` until a log is open.
static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Set when the file shall be opened again before the next record.
static REOPEN: AtomicBool = AtomicBool::new(false);

struct Sink {
    job: String,
    service: String,
    file: Option<RotatingFile>,
    file_layout: Layout,
    stderr: bool,
    stderr_layout: Layout,
    /// Instead of stderr.
    skylog: Option<Skylog>,
}

/// Opens the log of a job: the file if one is configured, and stderr or what `skylog.ini` says.
///
/// # Errors
/// The file cannot be opened: its directory does not exist, say. There is no `skylog.ini`, or it
/// cannot be used.
pub(crate) fn open(
    args: &CommonArgs,
    config: &CommonConfig,
    service: &str,
) -> Result<(), LogError> {
    let level = match (args.verbose, args.quiet) {
        (0, false) => LevelFilter::INFO,
        (0, true) => LevelFilter::WARN,
        (1, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let prepared = prepare(args, config, service)?;
    let skylog = prepared.0.skylog.as_ref();
    let level = skylog.and_then(Skylog::level).unwrap_or(level);
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
pub(crate) fn prepare(
    args: &CommonArgs,
    config: &CommonConfig,
    service: &str,
) -> Result<Prepared, LogError> {
    let file = match &config.logfile {
        Some(path) => {
            let file = RotatingFile::open(path, config.log_size, config.log_count);
            Some(file.map_err(|source| LogError::Open {
                path: path.clone(),
                source,
            })?)
        }
        None => None,
    };
    let interactive = !args.daemon && std::io::stdout().is_terminal();
    let skylog = match config.use_skylog {
        0 => None,
        1 if interactive => None,
        _ => Some(Skylog::open(
            &config.skylog_locations,
            &config.job_name,
            service,
        )?),
    };
    Ok(Prepared(Sink {
        job: config.job_name.clone(),
        service: service.to_owned(),
        skylog,
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
        let old = with_sink(|sink| {
            let stderr = sink.as_ref().is_some_and(|old| old.stderr);
            let mut new = Sink { stderr, ..self.0 };
            if let Some(skylog) = &mut new.skylog {
                skylog.start();
            }
            sink.replace(new)
        });
        // Its end may take a while, in which others shall not wait for the log.
        drop(old);
    }
}

/// Lets the log have threads, which a fork would lose; until then it keeps what is for them.
pub(crate) fn start() {
    with_sink(|sink| {
        if let Some(Sink {
            skylog: Some(skylog),
            ..
        }) = sink
        {
            skylog.start();
        }
    });
}

/// Sends what is still held back; for the end of the program.
pub(crate) fn close() {
    // What its threads have to say would wait for the log.
    let skylog = with_sink(|sink| sink.as_mut().and_then(|sink| sink.skylog.take()));
    drop(skylog);
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
            service: &sink.service,
            message,
        };
        let reopen = REOPEN.swap(false, Ordering::Relaxed);
        if let Some(file) = &mut sink.file {
            if reopen {
                let _ = file.reopen();
            }
            let _ = file.write(sink.file_layout.line(&record).as_bytes());
        }
        if let Some(skylog) = &mut sink.skylog {
            if reopen {
                skylog.reopen();
            }
            skylog.write(&record);
        } else if sink.stderr {
            let line = sink.stderr_layout.line(&record);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    });
}
