use std::time::Duration;

use serde::Deserialize;
use skytools::config::{self, CommonConfig};
use skytools::conninfo::ConnInfo;
use skytools::db::Database;

use crate::Error;

/// Keys of the section `[pgqadm]`, beside those every program has.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Connect string of the database that holds the queues.
    pub(crate) db: Option<String>,
    /// How often a ticker that found another one looks whether it is gone, in seconds.
    #[serde(default = "half_a_minute", with = "config::seconds")]
    pub(crate) queue_refresh_period: Duration,
    /// Time between two `{ticks: N}` lines, in seconds.
    #[serde(default = "five_minutes", with = "config::seconds")]
    pub(crate) ticker_log_delay: Duration,
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
    /// Known to old files, without effect: a setting of the queue now.
    #[serde(default, rename = "idle_interval")]
    _idle_interval: serde::de::IgnoredAny,
    /// Known to old files, without effect: a setting of the queue now.
    #[serde(default, rename = "max_events")]
    _max_events: serde::de::IgnoredAny,
    /// Known to old files, without effect: a setting of the queue now.
    #[serde(default, rename = "max_lag")]
    _max_lag: serde::de::IgnoredAny,
}

/// A number of seconds that may be missing.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Seconds(#[serde(with = "config::seconds")] Duration);

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn yes() -> bool {
    true
}

impl Config {
    /// Time between the starts of two maintenance rounds.
    pub(crate) fn maintenance_period(&self) -> Duration {
        match (self.maint_delay, self.maint_delay_min) {
            (Some(seconds), _) => seconds.0,
            (None, Some(minutes)) => minutes.0.saturating_mul(60),
            (None, None) => five_minutes(),
        }
    }

    /// The database, connected on demand; each caller gets a connection of its own.
    ///
    /// # Errors
    /// `db` is not set, or is no connect string.
    pub(crate) fn database(&self, common: &CommonConfig) -> Result<Database, Error> {
        let text = self.db.as_deref().ok_or(Error::NotSet("db"))?;
        let conninfo =
            ConnInfo::parse(text).map_err(|source| Error::ConnInfo { key: "db", source })?;
        Ok(Database::new(
            "db",
            conninfo.with_application_name(&common.job_name),
            common.connection_lifetime,
        ))
    }
}
