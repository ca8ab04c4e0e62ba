use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use skytools::config::ConfigError;
use skytools::conninfo::{ConnInfo, merge_connect_string, parse_connect_string, without_password};
use skytools::db::Connection;

use super::{Config, WalReceiver, need, need_path, optional};
use crate::Error;

/// Where and how to reach the primary, for the server's own programs and settings.
///
/// `Debug` shows no password.
#[derive(Clone)]
pub(crate) struct Conninfo {
    text: String,
    /// The same without the password, for command lines.
    public: String,
    password: Option<String>,
}

impl fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public.fmt(f)
    }
}

impl Conninfo {
    /// Of a key that may be empty. What libpq knows of options counts, and not what we know.
    pub(crate) fn optional(key: &str, value: &str) -> Result<Option<Conninfo>, Error> {
        let Some(text) = optional(value) else {
            return Ok(None);
        };
        let (public, password) = without_password(text)
            .map_err(|error| Error::Refused(format!("{key}: {}", skytools::app::chain(&error))))?;
        // Programs that are no replication would take a database with the name of the role.
        let has_database = parse_connect_string(&public).is_ok_and(|settings| {
            let names = |(name, _): &(String, String)| name == "dbname" || name == "service";
            settings.iter().any(names)
        });
        let database = if has_database { "" } else { " dbname=postgres" };
        Ok(Some(Conninfo {
            text: text.to_owned(),
            public: format!("{public}{database}"),
            password,
        }))
    }

    /// With a name for who connects, if it has none.
    ///
    /// # Errors
    /// None that was not there before.
    pub(crate) fn named(&self, name: &str) -> Result<Conninfo, Error> {
        // A URI stays as it is.
        let text = match parse_connect_string(&self.text) {
            Ok(mut settings) if !settings.iter().any(|(key, _)| key == "application_name") => {
                settings.push(("application_name".to_owned(), name.to_owned()));
                merge_connect_string(&settings)
            }
            _ => return Ok(self.clone()),
        };
        let named = Conninfo::optional("primary_conninfo", &text)?;
        Ok(named.unwrap_or_else(|| self.clone()))
    }

    /// As it was written, for a setting of the server.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A connection of ours, to the database `postgres` where the settings name none.
    pub(crate) fn open(&self, name: &str) -> Result<Connection, Error> {
        let parsed = ConnInfo::parse(&self.text)
            .and_then(|conninfo| conninfo.with_default("dbname", "postgres"))
            .and_then(|conninfo| conninfo.with_default("connect_timeout", "10"))
            .map_err(|error| Error::Refused(format!("{name}: {}", skytools::app::chain(&error))))?;
        Ok(Connection::open(name, &parsed)?)
    }

    /// Has a program of the server's connect. `application_name` counts where the settings have none.
    pub(crate) fn pass(&self, option: &str, application_name: &str, program: &mut Command) {
        program
            .arg(format!("{option}={}", self.public))
            .env("PGAPPNAME", application_name);
        if let Some(password) = &self.password {
            program.env("PGPASSWORD", password);
        }
    }
}

/// How WAL is streamed to the slave.
#[derive(Debug, Clone)]
pub(crate) struct ReceiverConfig {
    /// Where it is put.
    pub(crate) dir: PathBuf,
    pub(crate) slot: String,
    pub(crate) conninfo: Conninfo,
}

impl ReceiverConfig {
    /// `None` if WAL is not streamed.
    pub(super) fn new(config: &Config) -> Result<Option<ReceiverConfig>, Error> {
        if config.wal_receiver == WalReceiver::None {
            return Ok(None);
        }
        let dir = need_path("stream_wals", &config.stream_wals)?;
        for (key, other) in [
            ("completed_wals", &config.completed_wals),
            ("partial_wals", &config.partial_wals),
        ] {
            if dir == need_path(key, other)? {
                return Err(Error::Refused(format!(
                    "stream_wals: it is the directory of {key}, and has to be one of its own"
                )));
            }
        }
        need("wal_slot", &config.wal_slot)?;
        let (key, text) = match optional(&config.wal_conninfo) {
            Some(text) => ("wal_conninfo", text),
            None => ("primary_conninfo", config.primary_conninfo.as_str()),
        };
        let missing = || Error::from(ConfigError::Missing("wal_conninfo".to_owned()));
        Ok(Some(ReceiverConfig {
            dir,
            slot: slot("wal_slot", &config.wal_slot)?.ok_or_else(missing)?,
            conninfo: Conninfo::optional(key, text)?.ok_or_else(missing)?,
        }))
    }
}

/// The name of a replication slot; `None` if there is none.
///
/// # Errors
/// The server takes no such name.
pub(super) fn slot(key: &str, value: &str) -> Result<Option<String>, Error> {
    let Some(name) = optional(value) else {
        return Ok(None);
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.len() < 64 && name.chars().all(is_plain) {
        true => Ok(Some(name.to_owned())),
        false => Err(Error::Refused(format!(
            "{key}: '{name}' is no name of a replication slot: lower-case letters, digits and underscores, at \
             most 63"
        ))),
    }
}
