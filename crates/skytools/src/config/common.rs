//! The keys that every program understands.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::log::format::{self, DateFormat, Format, Layout};

/// Keys every program understands; read from the main section beside the program's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Keys")]
#[non_exhaustive]
pub struct CommonConfig {
    /// Unique name of the job; default: the name of the main section.
    pub job_name: String,
    /// Pidfile; needed for `-d`.
    pub pidfile: Option<PathBuf>,
    /// Log file, beside stderr.
    pub logfile: Option<PathBuf>,
    /// Size at which the log file is rotated, in bytes; 0 never.
    pub log_size: u64,
    /// Old log files to keep.
    pub log_count: u32,
    /// Layout of records in the log file.
    pub(crate) file_layout: Layout,
    /// Layout of records on stderr.
    pub(crate) stderr_layout: Layout,
    /// Whether a central `skylog.ini` shall be used: 0 no, 1 unless somebody is watching, 2 yes.
    pub(crate) use_skylog: i64,
    /// Where to look for it.
    pub(crate) skylog_locations: Vec<PathBuf>,
    /// Pause when there was nothing to do, in seconds.
    pub loop_delay: Duration,
    /// What a pause of no length means.
    pace: Pace,
    /// Age at which connections are replaced, in seconds; 0 keeps them.
    pub connection_lifetime: Duration,
    /// Pause after an error, in seconds.
    pub exception_sleep: Duration,
    /// Errors that are warnings while they are young: SQLSTATE, its class, a name, or `ALL`.
    pub(crate) exception_quiet: Vec<String>,
    /// How long they are young, in seconds from the first failed round.
    pub(crate) exception_grace: Duration,
    /// How long after the first failed round a good one ends that count, in seconds.
    pub(crate) exception_reset: Duration,
}

impl CommonConfig {
    /// Whether a negative `loop_delay` asks for one pass.
    pub(crate) fn runs_once(&self) -> bool {
        self.pace == Pace::Once
    }

    /// Whether a `loop_delay` of 0 asks for the end when there is nothing to do.
    pub(crate) fn runs_until_idle(&self) -> bool {
        self.pace == Pace::UntilIdle
    }
}

/// How long a job goes on, by the sign of `loop_delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Positive: until it is stopped.
    Forever,
    /// 0: until there is nothing to do.
    UntilIdle,
    /// Negative: one pass.
    Once,
}

impl From<Keys> for CommonConfig {
    fn from(keys: Keys) -> CommonConfig {
        CommonConfig {
            job_name: keys.job_name,
            pidfile: keys.pidfile,
            logfile: keys.logfile,
            log_size: keys.log_size,
            log_count: keys.log_count,
            file_layout: Layout {
                format: keys.logfmt_file,
                date: keys.logdatefmt_file,
                verbose_format: keys.logfmt_file_verbose,
                verbose_date: keys.logdatefmt_file_verbose,
            },
            stderr_layout: Layout {
                format: keys.logfmt_console,
                date: keys.logdatefmt_console,
                verbose_format: keys.logfmt_console_verbose,
                verbose_date: keys.logdatefmt_console_verbose,
            },
            use_skylog: keys.use_skylog,
            skylog_locations: keys
                .skylog_locations
                .iter()
                .map(|path| crate::app::expand_home(path))
                .collect(),
            // Too long for a `Duration` is as good as for ever.
            loop_delay: Duration::try_from_secs_f64(keys.loop_delay.max(0.0))
                .unwrap_or(Duration::MAX),
            pace: match keys.loop_delay {
                0.0 => Pace::UntilIdle,
                negative if negative < 0.0 => Pace::Once,
                _ => Pace::Forever,
            },
            connection_lifetime: keys.connection_lifetime,
            exception_sleep: keys.exception_sleep,
            exception_quiet: keys.exception_quiet,
            exception_grace: keys.exception_grace,
            exception_reset: keys.exception_reset,
        }
    }
}

/// The keys as written.
#[derive(Deserialize)]
struct Keys {
    job_name: String,
    #[serde(default, with = "super::optional_file")]
    pidfile: Option<PathBuf>,
    #[serde(default, with = "super::optional_file")]
    logfile: Option<PathBuf>,
    #[serde(default = "log_size", with = "super::bytes")]
    log_size: u64,
    #[serde(default = "log_count")]
    log_count: u32,
    #[serde(default)]
    use_skylog: i64,
    #[serde(default = "skylog_locations")]
    skylog_locations: Vec<String>,
    #[serde(default = "loop_delay")]
    loop_delay: f64,
    #[serde(default = "connection_lifetime", with = "super::seconds")]
    connection_lifetime: Duration,
    #[serde(default = "exception_sleep", with = "super::seconds")]
    exception_sleep: Duration,
    #[serde(default)]
    exception_quiet: Vec<String>,
    #[serde(default = "exception_grace", with = "super::seconds")]
    exception_grace: Duration,
    #[serde(default = "exception_reset", with = "super::seconds")]
    exception_reset: Duration,
    #[serde(default, with = "format")]
    logfmt_console: Option<Format>,
    #[serde(default, with = "format")]
    logfmt_console_verbose: Option<Format>,
    #[serde(default, with = "format")]
    logfmt_file: Option<Format>,
    #[serde(default, with = "format")]
    logfmt_file_verbose: Option<Format>,
    #[serde(default, deserialize_with = "format::deserialize_date")]
    logdatefmt_console: Option<DateFormat>,
    #[serde(default, deserialize_with = "format::deserialize_date")]
    logdatefmt_console_verbose: Option<DateFormat>,
    #[serde(default, deserialize_with = "format::deserialize_date")]
    logdatefmt_file: Option<DateFormat>,
    #[serde(default, deserialize_with = "format::deserialize_date")]
    logdatefmt_file_verbose: Option<DateFormat>,
    #[serde(default, rename = "config_format", deserialize_with = "only_format_1")]
    _config_format: (),
}

fn skylog_locations() -> Vec<String> {
    ["skylog.ini", "~/.skylog.ini", "/etc/skylog.ini"]
        .map(str::to_owned)
        .to_vec()
}

fn log_size() -> u64 {
    10 * 1024 * 1024
}

fn log_count() -> u32 {
    3
}

fn loop_delay() -> f64 {
    1.0
}

fn connection_lifetime() -> Duration {
    Duration::from_secs(1200)
}

fn exception_sleep() -> Duration {
    Duration::from_secs(20)
}

fn exception_grace() -> Duration {
    Duration::from_secs(300)
}

fn exception_reset() -> Duration {
    Duration::from_secs(900)
}

/// `${key}` interpolation is another dialect; reading such a file as this one would go wrong late.
fn only_format_1<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    match i64::deserialize(from)? {
        1 => Ok(()),
        format => Err(D::Error::custom(format_args!(
            "config format {format} is not supported, only 1"
        ))),
    }
}
