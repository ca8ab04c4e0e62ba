use std::path::PathBuf;
use std::time::Duration;

use pgq::{ConsumerName, QueueName};
use serde::{Deserialize, Deserializer};
use skytools::config::{self, CommonConfig};
use skytools::conninfo::ConnInfo;
use skytools::db::Database;

use crate::replay::apply::Manner;
use crate::replay::order::Order;
use crate::{CascadeError, Error, node};

/// Events that are read at a time when the configuration leaves it to us; large ones are fewer.
const CHUNK: usize = 50_000;

/// Keys of the section `[londiste]`, beside those every program has.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Connect string of the database whose changes are replicated.
    provider_db: Option<String>,
    /// Connect string of the database that receives them.
    subscriber_db: Option<String>,
    /// Queue that carries the changes.
    #[serde(alias = "queue_name")]
    pub(crate) pgq_queue_name: QueueName,
    /// Consumer name; default: `job_name`.
    #[serde(alias = "consumer_name")]
    pgq_consumer_id: Option<ConsumerName>,
    /// Events that are read at a time, at most; 0 lets the program choose.
    #[serde(default)]
    pub(crate) pgq_lazy_fetch: u32,
    /// Longest wait for a lock or a consumer in set-up commands and comparisons, in seconds; 0 or
    /// less is no limit.
    #[serde(default = "ten_seconds", deserialize_with = "limit")]
    pub(crate) lock_timeout: Duration,
    /// Query that `compare` runs on both sides; `_TABLE_` stands for the quoted table.
    pub(crate) compare_sql: Option<String>,
    /// How events are applied; only `direct` exists.
    #[serde(default = "direct")]
    method: String,
    /// Roll back what set-up commands did.
    #[serde(default)]
    pub(crate) fake: bool,
    /// How many tables may be in copy at once.
    #[serde(default = "one")]
    pub(crate) parallel_copies: u32,
    /// How often a hand-over looks at the other side's state, in seconds.
    #[serde(default = "fifth_of_a_second", with = "config::seconds")]
    pub(crate) sync_poll: Duration,
    /// `session_replication_role` of the connection that applies; default: `origin`, on a relay
    /// `replica`.
    apply_role: Option<ApplyRole>,
    /// How events become statements.
    #[serde(default)]
    pub(crate) apply_mode: ApplyMode,
    /// What happens when an update or delete does not change exactly one row.
    #[serde(default)]
    pub(crate) apply_check: ApplyCheck,
    /// TRUNCATE empties tables that refer to the one that the provider emptied, too, even those that
    /// are not replicated.
    #[serde(default)]
    pub(crate) truncate_cascade: bool,
    /// The queue itself, if this subscriber is a relay and has it too.
    #[serde(default)]
    mirror_queue: String,
    /// How often a relay tells its provider up to where its own subscribers have applied, in seconds.
    #[serde(default = "five_minutes", with = "config::seconds")]
    pub(crate) local_wm_publish_period: Duration,
    /// How often relays are told up to where everybody has applied, in seconds.
    #[serde(default = "five_minutes", with = "config::seconds")]
    pub(crate) global_wm_publish_period: Duration,
    /// Known to old files, without effect.
    #[serde(default, rename = "maint_delay")]
    _maint_delay: serde::de::IgnoredAny,
    /// Known to old files, without effect: the file methods do not exist.
    #[serde(default, rename = "file_src")]
    _file_src: Option<PathBuf>,
    /// Known to old files, without effect: the file methods do not exist.
    #[serde(default, rename = "file_dst")]
    _file_dst: Option<PathBuf>,
}

/// `session_replication_role` of the connection that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplyRole {
    /// Triggers of the subscriber's tables fire.
    #[default]
    Origin,
    /// Only triggers enabled for replicas fire.
    Replica,
}

/// How events become statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplyMode {
    /// One statement per event.
    Compat,
    /// Many at once, where that comes to the same.
    #[default]
    Fast,
}

/// What happens when an update or delete does not change exactly one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplyCheck {
    /// Nothing: nobody looks.
    #[default]
    Off,
    /// It is logged.
    Warn,
    /// The batch fails.
    Error,
}

/// Seconds of which nothing or less means no limit, which is a zero `Duration`.
fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    Duration::try_from_secs_f64(seconds.max(0.0)).map_err(serde::de::Error::custom)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn fifth_of_a_second() -> Duration {
    Duration::from_millis(200)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn direct() -> String {
    "direct".to_owned()
}

fn one() -> u32 {
    1
}

impl Config {
    /// Refuses settings that name something the program does not do.
    ///
    /// # Errors
    /// `method` asks for what does not exist, or `mirror_queue` is not the queue.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.method.as_str() {
            "direct" => {}
            "file_write" | "file_read" => return Err(Error::FileMethod(self.method.clone())),
            _ => return Err(Error::UnknownMethod),
        }
        if self.pgq_queue_name.as_str().is_empty() {
            return Err(Error::NotSet("pgq_queue_name"));
        }
        if self.is_relay() && self.mirror_queue != self.pgq_queue_name.as_str() {
            return Err(CascadeError::MirrorQueue {
                mirror: self.mirror_queue.clone(),
                queue: self.pgq_queue_name.clone(),
            }
            .into());
        }
        if self.parallel_copies == 0 {
            return Err(Error::NoCopies);
        }
        Ok(())
    }

    /// Whether the subscriber has the queue, too, and may be the provider of others.
    pub(crate) fn is_relay(&self) -> bool {
        !self.mirror_queue.is_empty()
    }

    /// `session_replication_role` of the connection that applies.
    pub(crate) fn apply_role(&self) -> ApplyRole {
        self.apply_role.unwrap_or(if self.is_relay() {
            ApplyRole::Replica
        } else {
            ApplyRole::Origin
        })
    }

    /// Name under which the provider knows this job.
    pub(crate) fn consumer(&self, common: &CommonConfig) -> ConsumerName {
        match &self.pgq_consumer_id {
            Some(name) => name.clone(),
            None => ConsumerName::from(common.job_name.as_str()),
        }
    }

    /// Reads from the provider that was stored on the subscriber from now on, if there is one.
    ///
    /// # Errors
    /// The subscriber does not answer.
    pub(crate) fn follow_stored_provider(&mut self, common: &CommonConfig) -> Result<(), Error> {
        let mut subscriber = self.subscriber(common)?;
        if let Some(text) = node::provider_text(subscriber.connection()?, &self.pgq_queue_name)? {
            self.provider_db = Some(text);
        }
        Ok(())
    }

    /// How events become statements.
    pub(crate) fn manner(&self) -> Manner {
        Manner {
            mode: self.apply_mode,
            check: self.apply_check,
            truncate_cascade: self.truncate_cascade,
            chunk: match self.pgq_lazy_fetch {
                0 => CHUNK,
                chunk => usize::try_from(chunk).unwrap_or(usize::MAX),
            },
            order: Order::Sorted,
        }
    }

    /// The provider, connected on demand.
    ///
    /// # Errors
    /// `provider_db` is not set, or is no connect string.
    pub(crate) fn provider(&self, common: &CommonConfig) -> Result<Database, Error> {
        database("provider_db", self.provider_db.as_deref(), common)
    }

    /// The subscriber, connected on demand.
    ///
    /// # Errors
    /// `subscriber_db` is not set, or is no connect string.
    pub(crate) fn subscriber(&self, common: &CommonConfig) -> Result<Database, Error> {
        database("subscriber_db", self.subscriber_db.as_deref(), common)
    }
}

fn database(
    key: &'static str,
    text: Option<&str>,
    common: &CommonConfig,
) -> Result<Database, Error> {
    let text = text.ok_or(Error::NotSet(key))?;
    let conninfo = ConnInfo::parse(text).map_err(|source| Error::ConnInfo { key, source })?;
    Ok(Database::new(
        key,
        conninfo.with_application_name(&common.job_name),
        common.connection_lifetime,
    ))
}
