//! Jobs: start-up order, detaching, signals, the work loop. The only module that uses `daemonize`.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::app::Program;
use crate::config::{CommonConfig, ConfigError, Settings};
use crate::stats::Stats;

/// A configured run of a program: command line, configuration and log are in place, nothing is
/// connected and no thread is started.
#[derive(Debug)]
pub struct Job<C> {
    /// Keys every program understands.
    pub common: CommonConfig,
    /// Keys of this program.
    pub config: C,
    /// The file both came from.
    pub settings: Settings,
}

/// Why a job cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What `-s`, `-k` and `-r` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `-s`: SIGINT, finish the current batch.
    Stop,
    /// `-k`: SIGTERM, end at once.
    Kill,
    /// `-r`: SIGHUP, read the configuration again.
    Reload,
}

impl<C: DeserializeOwned> Job<C> {
    /// Loads the configuration and opens the log; warns about unknown keys.
    ///
    /// # Errors
    /// No configuration file was named, or it cannot be used; the log cannot be opened.
    pub fn open<P: Program>(program: &P) -> Result<Job<C>, JobError> {
        let _ = program;
        unimplemented!("owner: process helper")
    }

    /// What `-s`, `-k` or `-r` on the command line ask for.
    pub fn signal_request(&self) -> Option<Signal> {
        None
    }

    /// Delivers `signal` to the process named in the pidfile; what is missing is only warned about.
    pub fn deliver(&self, signal: Signal) {
        let _ = signal;
    }

    /// Adds a suffix to the configured pidfile: `.admin`, `.setup`, `.copy`.
    #[must_use]
    pub fn with_pidfile_suffix(self, suffix: &str) -> Job<C> {
        let _ = suffix;
        self
    }

    /// Runs without a pidfile, for commands that only read.
    #[must_use]
    pub fn without_pidfile(self) -> Job<C> {
        self
    }

    /// Takes the pidfile, detaches if `-d` was given, installs the signal handlers, then calls
    /// `worker` to make the [`Worker`] and loops on it until stopped. A failed pass is logged and
    /// tried again after `exception_sleep`; with `--once` one pass is made and its error returned.
    ///
    /// # Errors
    /// Already running, no pidfile for `-d`, start-up failed, or a fatal error.
    pub fn run<W: Worker<Config = C>>(
        self,
        worker: impl FnOnce(&Job<C>) -> Result<W, W::Error>,
    ) -> Result<(), JobError> {
        let _ = worker;
        unimplemented!("owner: process helper")
    }

    /// Runs one command to its end under the pidfile (if any), with signal handlers installed.
    ///
    /// # Errors
    /// Already running, or what the command returned.
    pub fn run_command<T, E>(
        self,
        command: impl FnOnce(&Job<C>, &mut Context) -> Result<T, E>,
    ) -> Result<T, JobError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let _ = command;
        unimplemented!("owner: process helper")
    }
}

/// What a pass of the work loop finds around it.
#[derive(Debug)]
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

/// A stop request that SIGINT raises; shared by all threads of a program.
#[derive(Debug, Clone, Default)]
pub struct Stop {}

impl Stop {
    /// Whether the program was asked to end after the current batch.
    pub fn requested(&self) -> bool {
        false
    }

    /// Asks the program to end after the current batch.
    pub fn request(&self) {}

    /// Sleeps, but not past a stop or reload request. True if the program shall end.
    pub fn sleep(&self, duration: Duration) -> bool {
        let _ = duration;
        unimplemented!("owner: process helper")
    }
}
