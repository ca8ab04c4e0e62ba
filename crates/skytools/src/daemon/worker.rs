//! What the work loop calls.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Stop;
use crate::config::CommonConfig;
use crate::stats::Stats;

/// What a pass of the work loop finds around it.
#[derive(Debug, Default)]
pub struct Context {
    /// Stop request of a signal.
    pub stop: Stop,
    /// Counters of this pass, logged as one line after it.
    pub stats: Stats,
}

/// Answer of one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// More work is likely: call again at once.
    More,
    /// Nothing to do: pause for `loop_delay`.
    Idle,
    /// The job is done: leave the loop.
    Done,
}

/// A long-running program.
pub trait Worker {
    /// The program's configuration.
    type Config: DeserializeOwned;
    /// What a pass can fail with.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Does one round.
    ///
    /// # Errors
    /// Logged; then [`Worker::recover`], a pause, and the next round. See [`Worker::is_fatal`].
    fn work(&mut self, context: &mut Context) -> Result<Work, Self::Error>;

    /// Drops every connection after a failed round.
    fn recover(&mut self);

    /// Closes connections past their lifetime, between two rounds.
    fn between(&mut self) {}

    /// Waits after an idle round: for `delay` at most, and not past a stop or reload request.
    ///
    /// A worker that is told when there is work hands on to [`Context::wait_for_notification`].
    fn pause(&mut self, context: &Context, delay: Duration) {
        context.stop.pause(delay);
    }

    /// Waits after a failed round and [`Worker::recover`]: for `delay` at most, and not past a stop or reload
    /// request.
    fn pause_after_failure(&mut self, context: &Context, delay: Duration) {
        context.stop.pause(delay);
    }

    /// Does what is due once more before an orderly end: by a stop request or after the last round that
    /// was asked for, and not after a failed one.
    ///
    /// # Errors
    /// Logged; the job ends all the same.
    fn finish(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Takes a changed configuration, between two rounds.
    ///
    /// # Errors
    /// The new configuration cannot be used; the worker must still work with the old one.
    fn reload(&mut self, common: &CommonConfig, config: Self::Config) -> Result<(), Self::Error>;

    /// Whether retrying is pointless: a user error. Ends the program with exit code 1.
    fn is_fatal(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}
