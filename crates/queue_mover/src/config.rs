use pgq::QueueName;
use serde::Deserialize;

/// Keys of the section `[queue_mover]`, beside those of every mover.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Queue that takes the events; it must exist.
    pub(crate) dst_queue_name: QueueName,
}
