//! Configuration: INI or TOML into one typed struct per program.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::app::Override;

/// A configuration file, read and split into sections; values are interpolated when asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    path: PathBuf,
}

/// What is wrong with a configuration, naming file, line or key, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error("Config file not found: {0}")]
    NotFound(PathBuf),
}

impl Settings {
    /// Reads `path` (TOML if it ends in `.toml`, INI otherwise) and picks the main section: the
    /// first of `sections` that the file has.
    ///
    /// # Errors
    /// The file is missing or malformed, or has none of the sections.
    pub fn load(
        path: &Path,
        sections: &[&str],
        overrides: &[Override],
    ) -> Result<Settings, ConfigError> {
        let _ = (sections, overrides);
        Ok(Settings {
            path: path.to_owned(),
        })
    }

    /// Reads the same file again, from scratch.
    ///
    /// # Errors
    /// As [`Settings::load`]; the caller keeps the old settings then.
    pub fn reload(&self) -> Result<Settings, ConfigError> {
        unimplemented!("owner: process helper")
    }

    /// The main section as a typed struct.
    ///
    /// Strings are interpolated; see [`seconds`] and [`file`] for durations and paths; `Vec<String>`
    /// is a comma-separated list; `Option` fields may be missing.
    ///
    /// # Errors
    /// A key is missing, or its value is not what the field expects.
    pub fn main<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        unimplemented!("owner: process helper")
    }

    /// Path of the file, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Keys every program understands; read from the main section beside the program's own.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct CommonConfig {
    /// Unique name of the job; default: the name of the main section.
    pub job_name: String,
    /// Pidfile; needed for `-d`.
    pub pidfile: Option<PathBuf>,
    /// Pause when there was nothing to do, in seconds.
    #[serde(with = "seconds")]
    pub loop_delay: Duration,
    /// Age at which connections are replaced, in seconds; 0 keeps them.
    #[serde(with = "seconds")]
    pub connection_lifetime: Duration,
    /// Pause after an error, in seconds.
    #[serde(with = "seconds")]
    pub exception_sleep: Duration,
}

/// `#[serde(with = "config::seconds")]`: a number of seconds, possibly fractional, as a `Duration`.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    /// Reads a non-negative number of seconds.
    ///
    /// # Errors
    /// The value is not a number, or negative.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// `#[serde(with = "config::file")]`: a path with `~` expanded; empty and `-` stay as they are.
pub mod file {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer};

    /// Reads a path.
    ///
    /// # Errors
    /// The value is not text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(crate::app::expand_home(&String::deserialize(from)?))
    }
}
