use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skytools::config;
use skytools::quote;
use skytools::table::TableName;

use crate::batch::BatchWish;
use crate::{ConsumerName, QueueName, SubconsumerName};

/// Keys of every consumer, read from the main section beside the program's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Keys")]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// `pgq_queue_name`, or `queue_name`: queue to read.
    pub queue: QueueName,
    /// `pgq_consumer_id`, or `consumer_name`; default: `job_name`.
    pub consumer: ConsumerName,
    /// `auto_register`: whether a consumer that works at a target registers itself when it first runs.
    pub register: bool,
    /// `pgq_lazy_fetch`: events per fetch; 0 reads a batch at once.
    pub lazy_fetch: u32,
    /// `pgq_autocommit`: no transaction stays open on the source while events are handled.
    pub autocommit: bool,
    /// `pgq_batch_collect_events`, `pgq_batch_collect_interval`, `pgq_keep_lag`: which batches to
    /// take.
    pub wish: BatchWish,
    /// `table_filter` and `consumer_filter` as one SQL condition on the event columns.
    pub filter: Option<String>,
    /// `pgq_listen`: whether to listen for ticks while idle, besides polling.
    pub listen: bool,
    /// `consumer_lock`: how the target keeps a second process out.
    pub lock: LockLevel,
    /// `keepalive_stats`: time after which an idle consumer logs `{idle: N}`, in seconds.
    pub keepalive: Duration,
    /// `failed_event_action`: what becomes of a failed event where `pgq` has no place for it.
    pub failed_event_action: FailedEventAction,
    /// `subconsumer_name`: which one of several processes this is that share the consumer.
    pub subconsumer: Option<SubconsumerName>,
    /// `subconsumer_timeout`: silence after which another process takes the batch over; PostgreSQL
    /// interval text.
    pub subconsumer_timeout: Option<String>,
    /// `local_tracking_file`: where a local consumer keeps its position.
    pub tracking_file: Option<PathBuf>,
}

/// What becomes of an event that a handler has given up, on a server of the 3.x line, which has no
/// queue of failed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailedEventAction {
    /// The batch fails, and is repeated.
    #[default]
    #[serde(skip)]
    Refuse,
    /// It is delivered once more, after a minute.
    Retry,
    /// The log has it, and nothing else.
    Drop,
}

/// How long the consumer's lock at the target is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockLevel {
    /// From the first connection on; a second process is refused.
    #[default]
    Session,
    /// While a batch is applied; a second process waits. For transaction-pooling proxies.
    Transaction,
}

/// The keys as written.
#[derive(Deserialize)]
struct Keys {
    job_name: String,
    pgq_queue_name: Option<String>,
    queue_name: Option<String>,
    pgq_consumer_id: Option<String>,
    consumer_name: Option<String>,
    #[serde(default = "yes")]
    auto_register: bool,
    #[serde(default = "lazy_fetch")]
    pgq_lazy_fetch: u32,
    #[serde(default)]
    pgq_autocommit: bool,
    #[serde(default)]
    pgq_batch_collect_events: i32,
    pgq_batch_collect_interval: Option<String>,
    pgq_keep_lag: Option<String>,
    #[serde(default)]
    table_filter: Vec<String>,
    consumer_filter: Option<String>,
    #[serde(default = "yes")]
    pgq_listen: bool,
    #[serde(default)]
    consumer_lock: LockLevel,
    #[serde(default = "keepalive", with = "config::seconds")]
    keepalive_stats: Duration,
    #[serde(default)]
    failed_event_action: FailedEventAction,
    subconsumer_name: Option<String>,
    subconsumer_timeout: Option<String>,
    #[serde(default, with = "config::optional_file")]
    local_tracking_file: Option<PathBuf>,
}

fn lazy_fetch() -> u32 {
    300
}

fn yes() -> bool {
    true
}

fn keepalive() -> Duration {
    Duration::from_secs(300)
}

impl TryFrom<Keys> for ConsumerConfig {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<ConsumerConfig, &'static str> {
        let set = |value: Option<String>| value.filter(|text| !text.is_empty());
        let queue = set(keys.pgq_queue_name).or_else(|| set(keys.queue_name));
        let consumer = set(keys.pgq_consumer_id).or_else(|| set(keys.consumer_name));
        let tables = keys.table_filter.iter();
        let tables: Vec<String> = tables
            .map(|table| quote::literal(&TableName::parse(table).to_string()))
            .collect();
        let tables = (!tables.is_empty()).then(|| format!("ev_extra1 in ({})", tables.join(", ")));
        let filter = match (tables, set(keys.consumer_filter)) {
            (Some(tables), Some(filter)) => Some(format!("{tables} and ({filter}\n)")),
            (tables, filter) => tables.or(filter),
        };
        if keys.pgq_autocommit && keys.pgq_lazy_fetch > 0 {
            return Err("pgq_autocommit is not compatible with pgq_lazy_fetch");
        }
        let count = keys.pgq_batch_collect_events;
        Ok(ConsumerConfig {
            queue: queue.ok_or("Config value not set: pgq_queue_name")?.into(),
            consumer: consumer.unwrap_or(keys.job_name).into(),
            register: keys.auto_register,
            lazy_fetch: keys.pgq_lazy_fetch,
            autocommit: keys.pgq_autocommit,
            wish: BatchWish {
                min_count: (count > 0).then_some(count),
                min_interval: set(keys.pgq_batch_collect_interval),
                keep_lag: set(keys.pgq_keep_lag),
            },
            filter,
            listen: keys.pgq_listen,
            lock: keys.consumer_lock,
            keepalive: keys.keepalive_stats,
            failed_event_action: keys.failed_event_action,
            subconsumer: set(keys.subconsumer_name).map(SubconsumerName::from),
            subconsumer_timeout: set(keys.subconsumer_timeout),
            tracking_file: keys.local_tracking_file,
        })
    }
}

impl ConsumerConfig {
    /// A consumer with default settings.
    pub fn new(queue: QueueName, consumer: ConsumerName) -> ConsumerConfig {
        ConsumerConfig {
            queue,
            consumer,
            register: true,
            lazy_fetch: lazy_fetch(),
            autocommit: false,
            wish: BatchWish::default(),
            filter: None,
            listen: true,
            lock: LockLevel::default(),
            keepalive: keepalive(),
            failed_event_action: FailedEventAction::default(),
            subconsumer: None,
            subconsumer_timeout: None,
            tracking_file: None,
        }
    }
}
