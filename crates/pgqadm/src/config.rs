use std::time::Duration;

use serde::Deserialize;
use skytools::config::{self, CommonConfig};
use skytools::conninfo::ConnInfo;

use crate::Error;

/// Keys of the section `[pgqadm]` or `[pgqd]`, beside those every program has.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Connect string of the database that holds the queues.
    pub(crate) db: Option<String>,

    /// Connect string of a server of which all databases are ticked, without `dbname`.
    #[serde(default)]
    base_connstr: String,
    /// Where the names of the databases are read.
    initial_database: Option<String>,
    /// The databases to tick; empty: all.
    database_list: Option<Vec<String>>,
    /// Time between two looks for databases, and for PgQ in those that lacked it, in seconds.
    #[serde(default = "a_minute", with = "config::seconds")]
    pub(crate) check_period: Duration,
    /// Time between two passes of the ticker, in seconds; `loop_delay` if absent.
    ticker_period: Option<Seconds>,
    /// Time between the starts of two maintenance rounds, in seconds; counts before `maint_delay`.
    maint_period: Option<Seconds>,
    /// Time between two lines of statistics over many databases, in seconds.
    #[serde(default = "half_a_minute", with = "config::seconds")]
    stats_period: Duration,
    /// Age at which connections are replaced, in seconds; read once more to see whether it is set.
    connection_lifetime: Option<Seconds>,

    /// How often a ticker that found another one looks whether it is gone, in seconds.
    #[serde(default = "half_a_minute", with = "config::seconds")]
    pub(crate) queue_refresh_period: Duration,
    /// Time that a server may take to answer before the ticker connects anew, in seconds; 0: any.
    #[serde(default = "half_a_minute", with = "config::seconds")]
    pub(crate) answer_timeout: Duration,
    /// Time between two `{ticks: N}` lines, in seconds.
    #[serde(default = "five_minutes", with = "config::seconds")]
    ticker_log_delay: Duration,
    /// Time between the starts of two maintenance rounds, in seconds.
    maint_delay: Option<Seconds>,
    /// The same in minutes; counts if `maint_delay` is absent.
    maint_delay_min: Option<Seconds>,
    /// Time between two looks at the retry queue, in seconds.
    #[serde(default = "half_a_minute", with = "config::seconds")]
    pub(crate) retry_period: Duration,
    /// Whether the ticker takes a lock, so that a database has only one; it does not work through a
    /// transaction-pooling proxy.
    #[serde(default = "yes")]
    pub(crate) ticker_lock: bool,
    /// Known to old files, without effect.
    #[serde(default)]
    idle_interval: Ignored,
    /// Known to old files, without effect: a setting of the queue now.
    #[serde(default)]
    max_events: Ignored,
    /// Known to old files, without effect: a setting of the queue now.
    #[serde(default)]
    max_lag: Ignored,
    /// Known to old files, without effect: what a daemon logs goes to `logfile`.
    #[serde(default)]
    syslog: Ignored,
    /// As `syslog`.
    #[serde(default)]
    syslog_ident: Ignored,
    /// As `syslog`.
    #[serde(default)]
    syslog_facility: Ignored,
}

/// The value of a key that is accepted and has no effect.
#[derive(Debug, Clone, Copy, Default)]
struct Ignored;

impl PartialEq for Ignored {
    fn eq(&self, _: &Ignored) -> bool {
        true
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Ignored, D::Error> {
        serde::de::IgnoredAny::deserialize(from).map(|_| Ignored)
    }
}

/// A number of seconds that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Seconds(#[serde(with = "config::seconds")] Duration);

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn yes() -> bool {
    true
}

/// What a run of the ticker is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scope {
    /// The database of `db`.
    One,
    /// Databases of one server.
    Many(Server),
}

/// A server of which many databases are ticked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    base: ConnInfo,
    /// Where the names of the databases are read.
    pub(crate) initial_database: String,
    /// The databases; empty: all that allow connections.
    pub(crate) list: Vec<String>,
}

impl Server {
    /// The database to ask about the server.
    pub(crate) fn anchor(&self) -> &str {
        self.list.first().unwrap_or(&self.initial_database)
    }

    /// How to connect to one of its databases.
    pub(crate) fn database(&self, name: &str) -> ConnInfo {
        self.base.clone().with_dbname(name)
    }
}

impl Config {
    /// One database, or many: without `db`, or with a list of databases or a place to find it.
    ///
    /// # Errors
    /// A connect string is none, or nothing says which database to use.
    pub(crate) fn scope(&self, common: &CommonConfig, section: &str) -> Result<Scope, Error> {
        let list: Vec<String> = match &self.database_list {
            None => Vec::new(),
            Some(names) => names
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
        };
        let is_many = !list.is_empty() || self.initial_database.is_some();
        if !is_many && (self.db.is_some() || section != "pgqd" && self.base_connstr.is_empty()) {
            self.conninfo(common)?;
            return Ok(Scope::One);
        }
        // An empty name is the default of the program that the file was written for.
        let initial = self.initial_database.as_deref().unwrap_or_default();
        Ok(Scope::Many(Server {
            base: parse("base_connstr", &self.base_connstr)?
                .with_application_name(&common.job_name),
            initial_database: match initial {
                "" => "template1".to_owned(),
                name => name.to_owned(),
            },
            list,
        }))
    }

    /// Time between two passes of the ticker.
    pub(crate) fn ticker_period(&self, common: &CommonConfig) -> Duration {
        self.ticker_period
            .map_or(common.loop_delay, |period| period.0)
    }

    /// Time between the starts of two maintenance rounds.
    pub(crate) fn maintenance_period(&self, scope: &Scope) -> Duration {
        let default = match scope {
            Scope::One => five_minutes(),
            Scope::Many(_) => two_minutes(),
        };
        let minutes = |minutes: Seconds| Seconds(minutes.0.saturating_mul(60));
        self.maint_period
            .or(self.maint_delay)
            .or(self.maint_delay_min.map(minutes))
            .map_or(default, |period| period.0)
    }

    /// Time between two lines of statistics.
    pub(crate) fn report_period(&self, scope: &Scope) -> Duration {
        match scope {
            Scope::One => self.ticker_log_delay,
            Scope::Many(_) => self.stats_period,
        }
    }

    /// Age at which a connection of the ticker is replaced.
    pub(crate) fn lifetime(&self, scope: &Scope, common: &CommonConfig) -> Duration {
        match (scope, self.connection_lifetime) {
            (Scope::Many(_), None) => an_hour(),
            _ => common.connection_lifetime,
        }
    }

    /// How to connect to the database of `db`.
    ///
    /// # Errors
    /// `db` is not set, or is no connect string.
    pub(crate) fn conninfo(&self, common: &CommonConfig) -> Result<ConnInfo, Error> {
        let text = self.db.as_deref().ok_or(Error::NotSet("db"))?;
        Ok(parse("db", text)?.with_application_name(&common.job_name))
    }
}

fn parse(key: &'static str, text: &str) -> Result<ConnInfo, Error> {
    ConnInfo::parse(text).map_err(|source| Error::ConnInfo { key, source })
}
