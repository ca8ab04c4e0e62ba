//! Configuration: INI or TOML into one typed struct per program.
//!
//! Both formats fill the same model: sections of keys, `[DEFAULT]` behind every section, `%(name)s`
//! expanded when a value is read. A program reads its section into a struct by serde:
//!
//! ```
//! # use std::time::Duration;
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     /// Needed: "Config value not set: db" without it.
//!     db: String,
//!     /// Both names are known; setting both is an error.
//!     #[serde(alias = "queue_name", default)]
//!     pgq_queue_name: String,
//!     /// Missing is fine.
//!     retries: Option<u32>,
//!     /// A comma-separated list.
//!     #[serde(default)]
//!     tables: Vec<String>,
//!     /// A bare number of seconds.
//!     #[serde(with = "skytools::config::seconds", default = "timeout")]
//!     timeout: Duration,
//! }
//!
//! fn timeout() -> Duration {
//!     Duration::from_secs(20)
//! }
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("x.ini");
//! # std::fs::write(&path, "[job]\ndb = dbname=%(job_name)s\ntables = a, b\n")?;
//! let settings = skytools::config::Settings::load(&path, &["job"], &[])?;
//! let config: Config = settings.main()?;
//! assert_eq!(config.db, "dbname=job");
//! assert_eq!(config.tables, ["a", "b"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `#[serde(flatten)]` does not work here: values are text until a field says what it wants. [`Both`]
//! reads a section into two structs.

mod both;
mod common;
pub(crate) mod de;
mod fields;
mod nearest;
mod toml;
pub(crate) mod value;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tracing::warn;

pub use both::Both;
pub use common::CommonConfig;
pub use fields::{bytes, file, optional_file, seconds};

use crate::app::Override;
use crate::ini::BadLine;
use de::{Kind, Problem};
use value::{Document, Options, Scope, Value};

/// A configuration file, read and split into sections; values are interpolated when asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    path: PathBuf,
    candidates: Vec<String>,
    overrides: Vec<Override>,
    document: Document,
    main: String,
    builtins: Vec<(&'static str, Value)>,
}

/// What is wrong with a configuration, naming file, line or key, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file does not exist.
    #[error("Config file not found: {}", .0.display())]
    NotFound(PathBuf),
    /// The file is there, but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not UTF-8.
    #[error("cannot parse {}: line {line}: expected UTF-8", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// Lines of an INI file that mean nothing.
    #[error("cannot parse {}{}", path.display(), lines(bad))]
    Ini {
        /// The file.
        path: PathBuf,
        /// All of its bad lines.
        bad: Vec<BadLine>,
    },
    /// A TOML file that does not parse, or holds more than sections of keys.
    #[error("cannot parse {}: {problem}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line or key, and what was expected.
        problem: String,
    },
    /// The file has no section for this program.
    #[error("Wrong config file, no section '{section}' in {}", path.display())]
    NoSection {
        /// The file.
        path: PathBuf,
        /// The section that was looked for.
        section: String,
    },
    /// A key without default is not set.
    #[error("Config value not set: {0}")]
    Missing(String),
    /// A value is not what the program expects of the key.
    #[error("{}: [{section}] {}{problem}", path.display(), before_problem(key))]
    Value {
        /// The file.
        path: PathBuf,
        /// The section, without brackets.
        section: String,
        /// The key; empty if it is about several keys, which the problem names.
        key: String,
        /// What was expected, and the value unless it may hold a password.
        problem: String,
    },
}

/// A key in front of what is wrong with it.
fn before_problem(key: &str) -> String {
    match key {
        "" => String::new(),
        key => format!("{key}: "),
    }
}

fn lines(bad: &[BadLine]) -> String {
    bad.iter().map(|line| format!("\n  {line}")).collect()
}

impl Settings {
    /// Reads `path` (TOML if it ends in `.toml`, INI otherwise) and picks the main section: the
    /// first of `sections` that the file has.
    ///
    /// `overrides` replace keys of the main section, also after [`Settings::reload`].
    ///
    /// # Errors
    /// The file is missing or malformed, or has none of the sections.
    pub fn load(
        path: &Path,
        sections: &[&str],
        overrides: &[Override],
    ) -> Result<Settings, ConfigError> {
        let candidates = sections.iter().map(|&name| name.to_owned()).collect();
        Settings::read(path.to_owned(), candidates, overrides.to_vec())
    }

    fn read(
        path: PathBuf,
        candidates: Vec<String>,
        overrides: Vec<Override>,
    ) -> Result<Settings, ConfigError> {
        let mut document = parse(&path)?;
        let found = candidates
            .iter()
            .find(|name| document.section(name).is_some());
        let Some(main) = found.cloned() else {
            let section = candidates.into_iter().next().unwrap_or_default();
            return Err(ConfigError::NoSection { path, section });
        };
        let section = document.open_section(&main);
        for Override { key, value } in &overrides {
            section.set(key.to_lowercase(), Value::Text(value.clone()));
        }
        let builtins = builtins(&path, &main);
        Ok(Settings {
            path,
            candidates,
            overrides,
            document,
            main,
            builtins,
        })
    }

    /// Reads a file that has no main section of its own, with these variables.
    pub(crate) fn with_variables(
        path: &Path,
        section: &str,
        variables: Vec<(&'static str, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut settings = Settings::load(path, &[section], &[])?;
        settings.builtins = variables
            .into_iter()
            .map(|(name, value)| (name, Value::Text(value)))
            .collect();
        Ok(settings)
    }

    /// Reads the same file again, from scratch.
    ///
    /// # Errors
    /// As [`Settings::load`]; the caller keeps the old settings then.
    pub fn reload(&self) -> Result<Settings, ConfigError> {
        Settings::read(
            self.path.clone(),
            self.candidates.clone(),
            self.overrides.clone(),
        )
    }

    /// The main section as a typed struct.
    ///
    /// Strings are interpolated; see [`seconds`], [`mod@bytes`] and [`mod@file`] for durations, sizes
    /// and paths; `Vec<String>` is a comma-separated list, a map is a list of `key:value`; `Option`
    /// fields may be missing. Only the keys of the struct are looked at.
    ///
    /// # Errors
    /// A key is missing, or its value is not what the field expects.
    pub fn main<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.main_section().read()
    }

    /// Path of the file, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The section that [`Settings::main`] reads.
    pub fn main_section(&self) -> Section<'_> {
        self.section(&self.main)
            .expect("the main section was found on load and nothing removes it")
    }

    /// A section by its name, case-sensitive.
    pub fn section<'a>(&'a self, name: &str) -> Option<Section<'a>> {
        let (name, options) = self.document.section(name)?;
        Some(Section {
            settings: self,
            name,
            options,
        })
    }

    /// Names of all sections in the order of the file, without `DEFAULT`.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.document.sections()
    }

    /// The same file with another main section, as a manager of jobs reads the file of each.
    ///
    /// # Errors
    /// There is no such section.
    pub fn with_main(&self, section: &str) -> Result<Settings, ConfigError> {
        if self.document.section(section).is_none() {
            return Err(ConfigError::NoSection {
                path: self.path.clone(),
                section: section.to_owned(),
            });
        }
        Ok(Settings {
            candidates: vec![section.to_owned()],
            overrides: Vec::new(),
            main: section.to_owned(),
            builtins: builtins(&self.path, section),
            ..self.clone()
        })
    }

    /// Warns about each key of the main section that has no effect: `T` does not read it, and no `%(name)s`
    /// uses it. The keys of a program's own section are looked at when its job is opened.
    pub fn warn_unless_read_by<T: DeserializeOwned>(&self) {
        self.warn_of_unknown_keys(&[de::fields_of::<T>()]);
    }

    /// As [`Settings::warn_unless_read_by`], for the structs with these key lists.
    pub(crate) fn warn_of_unknown_keys(&self, known: &[Option<Vec<&'static str>>]) {
        for warning in self.warnings_of_unknown_keys(known) {
            warn!("{warning}");
        }
    }

    /// What [`Settings::warn_of_unknown_keys`] says, for when there is no log.
    pub(crate) fn warnings_of_unknown_keys(
        &self,
        known: &[Option<Vec<&'static str>>],
    ) -> Vec<String> {
        let section = &self.main;
        let warning = |(key, nearest): (String, Option<&str>)| match nearest {
            Some(nearest) => {
                format!("unknown key '{key}' in section [{section}], nearest is '{nearest}'")
            }
            None => format!("unknown key '{key}' in section [{section}]"),
        };
        self.unknown_keys(known).into_iter().map(warning).collect()
    }

    /// Keys of the main section that neither struct reads and no `%(name)s` uses, each with the
    /// nearest key that one of them does.
    ///
    /// `known` are the key lists of the structs; nothing is reported if one of them takes any key.
    fn unknown_keys(
        &self,
        known: &[Option<Vec<&'static str>>],
    ) -> Vec<(String, Option<&'static str>)> {
        let Some(known) = known.iter().cloned().collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        let known = known.concat();
        let section = self.main_section();
        let variables = section.scope().variables();
        section
            .options
            .keys()
            .filter(|key| !known.contains(key) && !variables.iter().any(|name| name == key))
            .map(|key| (key.to_owned(), nearest::nearest(key, &known)))
            .collect()
    }
}

fn parse(path: &Path) -> Result<Document, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::NotFound(path.to_owned()),
        _ => ConfigError::Read {
            path: path.to_owned(),
            source,
        },
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ConfigError::Encoding {
            path: path.to_owned(),
            line: 1 + valid.iter().filter(|byte| **byte == b'\n').count(),
        }
    })?;
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        toml::parse(&text).map_err(|problem| ConfigError::Toml {
            path: path.to_owned(),
            problem,
        })
    } else {
        crate::ini::parse(&text).map_err(|bad| ConfigError::Ini {
            path: path.to_owned(),
            bad,
        })
    }
}

/// Variables, and keys where the file does not set them.
fn builtins(path: &Path, main: &str) -> Vec<(&'static str, Value)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let directory = path.parent().map(text).unwrap_or_default();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    [
        ("job_name", main.to_owned()),
        ("service_name", main.to_owned()),
        ("host_name", host),
        ("config_dir", directory),
        ("config_file", text(path)),
    ]
    .map(|(name, value)| (name, Value::Text(value)))
    .to_vec()
}

/// One section of a file, with `[DEFAULT]` behind it.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    settings: &'a Settings,
    name: &'a str,
    options: &'a Options,
}

impl<'a> Section<'a> {
    /// Its name, without brackets.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Keys set in the section, then those that only `[DEFAULT]` sets; lower case.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.scope().keys()
    }

    /// Whether the file sets the key, here or in `[DEFAULT]`.
    pub fn has(&self, key: &str) -> bool {
        self.scope().has(key)
    }

    /// The section as a typed struct, or as a map of all its keys.
    ///
    /// # Errors
    /// As [`Settings::main`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        de::section(self.scope()).map_err(|problem| self.error(problem))
    }

    /// One value, as any type that a field of a struct may have; `None` if it is not set.
    ///
    /// # Errors
    /// The value is not what the type expects.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let value = match self.scope().resolve(key) {
            None => return Ok(None),
            Some(Ok(value)) => value,
            Some(Err(text)) => {
                return Err(self.error(Problem {
                    key: Some(key.to_owned()),
                    kind: Kind::Message(text),
                }));
            }
        };
        match de::value(key, value) {
            Ok(value) => Ok(Some(value)),
            Err(problem) => Err(self.error(problem)),
        }
    }

    /// A value as it is written, with its percent signs.
    pub(crate) fn raw(&self, key: &str) -> Option<String> {
        Some(self.scope().raw(key)?.text(key).into_owned())
    }

    /// What is wrong with a key of this section.
    pub(crate) fn problem(&self, key: &str, problem: String) -> ConfigError {
        self.error(Problem {
            key: Some(key.to_owned()),
            kind: Kind::Message(problem),
        })
    }

    /// The key that fits `pattern` best: its `*`s are filled with `names` from left to right, and
    /// the most specific key that is set wins.
    ///
    /// `p-*-*` with `a` and `b` tries `p-a-b`, `p-a-*`, `p-*-*`.
    pub fn wildcard(&self, pattern: &str, names: &[&str]) -> Option<String> {
        (0..=names.len()).rev().find_map(|filled| {
            let mut key = pattern.to_owned();
            for name in &names[..filled] {
                key = key.replacen('*', name, 1);
            }
            self.has(&key).then_some(key)
        })
    }

    fn scope(&self) -> Scope<'a> {
        Scope {
            section: self.options,
            defaults: &self.settings.document.defaults,
            builtins: &self.settings.builtins,
        }
    }

    fn error(&self, problem: Problem) -> ConfigError {
        match problem {
            Problem {
                key: None,
                kind: Kind::Missing(key),
            } => ConfigError::Missing(key.to_owned()),
            Problem { key, kind } => ConfigError::Value {
                path: self.settings.path.clone(),
                section: self.name.to_owned(),
                key: key.clone().unwrap_or_default(),
                problem: Problem { key, kind }.to_string(),
            },
        }
    }
}
