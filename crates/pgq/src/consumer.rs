//! The consumer kinds: what a [`Worker`](skytools::daemon::Worker) calls in its rounds.
//!
//! | kind | work is done | delivery |
//! |---|---|---|
//! | [`Consumer`] | on the source, or outside | exactly once on the source's connection |
//! | [`RemoteConsumer`] | on a target that remembers the last batch | exactly once, but for a lost position |
//! | [`SerialConsumer`] | on a target that remembers the last tick | exactly once, in order, or an error |
//! | [`LocalConsumer`] | outside, a file remembers the last tick | at least once, in order, or an error |
//! | [`CoopConsumer`] | as [`Consumer`], shared by several processes | the same, in no order |
//!
//! A kind holds its connections and the order of its transactions; the program brings a closure that
//! handles the events, and hands on [`pause`](SerialConsumer::pause),
//! [`recover`](SerialConsumer::recover) and [`between`](SerialConsumer::between). Targets are handed
//! over as a borrowed transaction, which cannot be committed: that happens together with the position.
//!
//! ```no_run
//! # use pgq::consumer::{ConsumerConfig, SerialConsumer};
//! # use pgq::Error;
//! # use skytools::config::CommonConfig;
//! # use skytools::daemon::{Context, Work, Worker};
//! # use skytools::db::During;
//! # use std::time::Duration;
//! /// Notes in the target which events it has seen.
//! struct Notes {
//!     consumer: SerialConsumer,
//!     lifetime: Duration,
//! }
//!
//! impl Worker for Notes {
//!     type Config = ConsumerConfig;
//!     type Error = Error;
//!
//!     fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
//!         self.consumer.work(context, |events, target| {
//!             while let Some(event) = events.next()? {
//!                 target
//!                     .execute_typed(
//!                         "insert into seen values ($1)",
//!                         &[(&event.id, postgres::types::Type::INT8)],
//!                     )
//!                     .during("note an event")?;
//!             }
//!             Ok(())
//!         })
//!     }
//!
//!     fn pause(&mut self, context: &Context, delay: Duration) {
//!         self.consumer.pause(context, delay);
//!     }
//!
//!     fn recover(&mut self) {
//!         self.consumer.recover();
//!     }
//!
//!     fn between(&mut self) {
//!         self.consumer.between(self.lifetime);
//!     }
//!
//!     fn is_fatal(&self, error: &Error) -> bool {
//!         self.consumer.is_fatal(error)
//!     }
//! #   fn reload(&mut self, _: &CommonConfig, _: ConsumerConfig) -> Result<(), Error> { Ok(()) }
//! }
//! ```
//!
//! The feature `failpoints` lets tests end the program between two steps.

mod args;
mod config;
mod coop;
mod local;
mod open_batch;
mod plain;
mod remote;
mod serial;
mod source;
mod tags;
mod target;
mod tracking;

pub use args::{ConsumerArgs, SerialArgs};
pub use config::{ConsumerConfig, FailedEventAction, LockLevel};
pub use coop::CoopConsumer;
pub use local::LocalConsumer;
pub use open_batch::{BatchWork, OpenBatch};
pub use plain::Consumer;
pub use remote::RemoteConsumer;
pub use serial::SerialConsumer;
pub(crate) use serial::savepoint;
pub use source::Events;
