//! The consumer kinds: what a [`Worker`](skytools::daemon::Worker) calls in its rounds.
//!
//! | kind | work is done | delivery |
//! |---|---|---|
//! | [`Consumer`] | on the source, or outside | exactly once on the source's connection |
//! | [`RemoteConsumer`] | on a target that remembers the last batch | exactly once, but for a lost position |
//! | [`SerialConsumer`] | on a target that remembers the last tick | exactly once, in order, or an error |
//!
//! A kind holds its connections and the order of its transactions; the program brings a closure that
//! handles the events, and hands on [`recover`](SerialConsumer::recover) and
//! [`between`](SerialConsumer::between). Targets are handed over as a borrowed transaction, which
//! cannot be committed: that happens together with the position.
//!
//! The feature `failpoints` lets tests end the program between two steps.

mod args;
mod config;
mod plain;
mod remote;
mod serial;
mod source;
mod tags;
mod target;

pub use args::{ConsumerArgs, SerialArgs};
pub use config::{ConsumerConfig, LockLevel};
pub use plain::Consumer;
pub use remote::RemoteConsumer;
pub use serial::SerialConsumer;
pub use source::Events;

/// A place where tests stop the program dead.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($name);
    };
}
use crash_point;
