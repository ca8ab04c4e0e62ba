//! PgQ client: queues, producers, batches and consumers.
//!
//! * [`id`]: names and numbers as types of their own
//! * [`admin`]: creating, registering, ticking, looking
//! * [`producer`]: putting events in
//! * [`batch`]: taking batches and reading their events in bounded memory
//! * [`row`]: events that are changed rows, in any of the formats of the triggers
//! * [`position`]: what a destination has applied; [`lock`]: one process per consumer
//! * [`health`]: what is wrong
//! * [`maintenance`]: rotation and redelivery
//! * [`consumer`]: the work loops built from these
#![warn(missing_docs)]

pub mod admin;
pub mod batch;
pub mod consumer;
pub mod coop;
mod error;
mod features;
pub mod health;
pub mod id;
pub mod lock;
pub mod maintenance;
pub mod position;
pub mod producer;
pub mod row;
pub mod schema;

pub use error::Error;
pub use features::Features;
pub use id::{BatchId, ConsumerName, EventId, QueueName, SubconsumerName, TickId};
