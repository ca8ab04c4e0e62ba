//! Jobs: start-up order, detaching, signals, the work loop. The only module that uses `daemonize`.
//!
//! A program opens its [`Job`], answers a signal request, then runs a command or a [`Worker`]:
//!
//! ```
//! # use skytools::daemon::{Job, JobError, Worker};
//! # use skytools::app::{Program, UsageError};
//! # fn run<P, C, W>(args: &P, command: Option<&str>) -> Result<(), JobError>
//! # where P: Program, C: serde::de::DeserializeOwned,
//! #     W: Worker<Config = C> + for<'a> From<&'a Job<C>> {
//! let job = Job::<C>::open(args)?;
//! if let Some(signal) = job.signal_request() {
//!     job.deliver(signal);
//!     return Ok(());
//! }
//! match command.ok_or(UsageError::NeedCommand)? {
//!     "ticker" => job.run(|job| Ok(W::from(job))),
//!     _ => job
//!         .with_pidfile_suffix(".admin")
//!         .run_command(|job, context| -> Result<(), std::io::Error> { Ok(()) }),
//! }
//! # }
//! ```
//!
//! Nothing that threads or connections hang on may exist before [`Job::run`] or
//! [`Job::run_command`] calls back: a fork keeps only the thread that calls it.

mod control;
mod crash;
mod detach;
mod signals;
mod stop;
mod wait;
mod worker;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tracing::{debug, error, info, warn};

pub use control::{Relaunch, Signal};
pub use stop::Stop;
pub use worker::{Context, Work, Worker};

use crate::app::{CommonArgs, Program, UsageError, chain, complain};
use crate::config::{CommonConfig, ConfigError, Settings, de};
use crate::log::{self, LogError};
use crate::pidfile::{Pidfile, PidfileError};

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
    args: CommonArgs,
    /// What this run takes: the configured one, perhaps with a suffix.
    pidfile: Option<PathBuf>,
}

/// Why a job cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The command line asks for nothing that can be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// `-d` without a pidfile in the configuration.
    #[error("Daemon needs pidfile")]
    NeedsPidfile,
    /// The pidfile cannot be read or written.
    #[error(transparent)]
    Pidfile(PidfileError),
    /// Another process has the job; the user has been told.
    #[error("Pidfile exists, another process running?")]
    AlreadyRunning(#[source] Reported),
    /// The process cannot go to the background.
    #[error("cannot go to the background")]
    Detach(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] std::io::Error),
    /// A command failed.
    #[error(transparent)]
    Command(Box<dyn std::error::Error + Send + Sync>),
    /// The work loop gave up; the log has the reason.
    #[error("the job failed")]
    Failed(#[source] Reported),
}

/// Marks an error that needs no more words, with the exit code it leads to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("see the log")]
pub struct Reported {
    code: u8,
}

impl Reported {
    /// The exit code, if some cause of `error` is such a mark.
    pub(crate) fn code_of<E: std::error::Error>(error: &E) -> Option<u8> {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(Reported { code }) = cause.downcast_ref() {
                return Some(*code);
            }
            source = cause.source();
        }
        None
    }
}

/// Keys of every program and of this one; `None` where any is read.
fn known_keys<C: DeserializeOwned>() -> [Option<Vec<&'static str>>; 2] {
    [de::fields_of::<CommonConfig>(), de::fields_of::<C>()]
}

/// What is held while a job runs.
struct Running {
    /// Removed when dropped.
    _pidfile: Option<Pidfile>,
    stop: Stop,
}

impl<C: DeserializeOwned> Job<C> {
    /// Loads the configuration and opens the log; warns about unknown keys.
    ///
    /// # Errors
    /// No configuration file was named, or it cannot be used; the log cannot be opened.
    pub fn open<P: Program>(program: &P) -> Result<Job<C>, JobError> {
        let args = program.common().clone();
        let path = args.config.as_deref().ok_or(UsageError::NeedConfigFile)?;
        let settings = Settings::load(path, P::SERVICE.sections, &args.set)?;
        let common: CommonConfig = settings.main()?;
        let config = settings.main().inspect_err(|_| {
            // A key that is missing may be there under a name that is misspelt.
            for warning in settings.warnings_of_unknown_keys(&known_keys::<C>()) {
                complain(&warning);
            }
        })?;
        log::open(&args, &common, settings.main_section().name())?;
        let job = Job {
            pidfile: common.pidfile.clone(),
            common,
            config,
            settings,
            args,
        };
        job.warn();
        Ok(job)
    }

    /// Warns about keys that have no effect.
    fn warn(&self) {
        self.settings.warn_of_unknown_keys(&known_keys::<C>());
    }

    /// What `-s`, `-k` or `-r` on the command line ask for.
    pub fn signal_request(&self) -> Option<Signal> {
        self.args.signal()
    }

    /// Delivers `signal` to the process named in the configured pidfile; what is missing is only
    /// warned about.
    pub fn deliver(&self, signal: Signal) {
        match &self.common.pidfile {
            Some(pidfile) if !control::deliver(pidfile, signal) => {
                warn!("No pidfile, process not running");
            }
            Some(_) => {}
            None => warn!("No pidfile in config, nothing todo"),
        }
    }

    /// Delivers `signal` to the process named in another pidfile, as [`Job::deliver`] does; one that has
    /// ended since [`Job::pidfiles`] needs no signal.
    pub fn deliver_to(&self, pidfile: &Path, signal: Signal) {
        control::deliver(pidfile, signal);
    }

    /// Existing pidfiles whose name begins with the configured one and `suffix`: `.copy` finds
    /// `PIDFILE.copy` and `PIDFILE.copy.public.users`.
    pub fn pidfiles(&self, suffix: &str) -> Vec<PathBuf> {
        match &self.common.pidfile {
            Some(pidfile) => control::beside(pidfile, suffix),
            None => Vec::new(),
        }
    }

    /// How to start this program again on the same configuration.
    pub fn relaunch(&self) -> Relaunch {
        Relaunch::new(&self.args, self.settings.path())
    }

    /// Whether `-d` was given.
    pub fn is_daemon(&self) -> bool {
        self.args.daemon
    }

    /// Whether one pass was asked for, by `--once` or a negative `loop_delay`.
    pub fn is_once(&self) -> bool {
        self.args.once || self.common.runs_once()
    }

    /// Adds a suffix to the configured pidfile: `.admin`, `.setup`, `.copy`.
    #[must_use]
    pub fn with_pidfile_suffix(mut self, suffix: &str) -> Job<C> {
        let configured = self.common.pidfile.as_deref();
        self.pidfile = configured.map(|path| crate::pidfile::with_suffix(path, suffix));
        self
    }

    /// Runs without a pidfile, for commands that only read.
    #[must_use]
    pub fn without_pidfile(mut self) -> Job<C> {
        self.pidfile = None;
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
        let running = self.start()?;
        let context = Context {
            stop: running.stop.clone(),
            stats: Default::default(),
        };
        match worker(&self) {
            Ok(worker) => self.work(worker, context),
            Err(error) => {
                error!("{}", crash::line(&self.common.job_name, &error));
                Err(JobError::Failed(Reported { code: 1 }))
            }
        }
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
        let running = self.start()?;
        let mut context = Context {
            stop: running.stop.clone(),
            stats: Default::default(),
        };
        let result = command(&self, &mut context);
        context.stats.flush();
        result.map_err(|error| JobError::Command(Box::new(error)))
    }

    /// Everything between the configuration and the first connection, in the order that a fork and
    /// the readers of the pidfile demand.
    fn start(&self) -> Result<Running, JobError> {
        if self.args.daemon && self.pidfile.is_none() {
            return Err(JobError::NeedsPidfile);
        }
        let pidfile = match &self.pidfile {
            Some(path) => Some(self.take(path)?),
            None => None,
        };
        if self.args.daemon {
            if self.common.logfile.is_none() && self.common.use_skylog == 0 {
                complain("no logfile in config, the daemon will have no log");
            }
            detach::detach().map_err(JobError::Detach)?;
            log::leave_stderr();
            detach::log_panics();
        }
        log::start();
        // With --ensure for the log only: cron would mail what a daemon says to the terminal.
        if self.args.ensure && pidfile.as_ref().is_some_and(Pidfile::was_stale) {
            warn!("Ignoring stale pidfile");
        }
        let stop = Stop::default();
        let path = pidfile.as_ref().map(|pidfile| pidfile.path().to_owned());
        signals::install(stop.clone(), path).map_err(JobError::Signals)?;
        if let Some(pidfile) = &pidfile {
            pidfile.write().map_err(JobError::Pidfile)?;
        }
        Ok(Running {
            _pidfile: pidfile,
            stop,
        })
    }

    /// Takes the pidfile, or says on the terminal why not.
    fn take(&self, path: &Path) -> Result<Pidfile, JobError> {
        let silent = self.args.quiet && self.args.verbose == 0;
        match Pidfile::take(path) {
            Ok(pidfile) => {
                if pidfile.was_stale() && !self.args.ensure && !silent {
                    complain("Ignoring stale pidfile");
                }
                Ok(pidfile)
            }
            Err(PidfileError::Running) if self.args.ensure => {
                Err(JobError::AlreadyRunning(Reported { code: 0 }))
            }
            Err(error @ PidfileError::Running) => {
                if !silent {
                    complain(&error.to_string());
                }
                Err(JobError::AlreadyRunning(Reported { code: 1 }))
            }
            Err(error) => Err(JobError::Pidfile(error)),
        }
    }

    /// The work loop.
    fn work<W: Worker<Config = C>>(
        mut self,
        mut worker: W,
        mut context: Context,
    ) -> Result<(), JobError> {
        let stop = context.stop.clone();
        let mut troubles = crash::Troubles::default();
        loop {
            if stop.take_reload() {
                self.reload(&mut worker);
            }
            let result = worker.work(&mut context);
            context.stats.flush();
            let mut idle = false;
            let mut failed = false;
            match result {
                Ok(Work::Done) => return Ok(()),
                Ok(done) => {
                    troubles.success(self.common.exception_reset);
                    idle = done == Work::Idle;
                }
                Err(error) if worker.is_fatal(&error) => {
                    error!("{}", chain(&error));
                    return Err(JobError::Failed(Reported { code: 1 }));
                }
                Err(error) => {
                    let line = crash::line(&self.common.job_name, &error);
                    if troubles.are_news(&error, &self.common) {
                        error!("{line}");
                    } else {
                        warn!("{line}");
                    }
                    worker.recover();
                    if self.is_once() {
                        return Err(JobError::Failed(Reported { code: 1 }));
                    }
                    failed = true;
                }
            }
            worker.between();
            let last = if self.is_once() {
                debug!("Only single loop requested, exiting");
                true
            } else {
                idle && self.common.runs_until_idle()
            };
            if failed {
                worker.pause_after_failure(&context, self.common.exception_sleep);
            } else if idle && !last && !stop.requested() {
                worker.pause(&context, self.common.loop_delay);
            }
            if last || stop.requested() {
                if !failed && let Err(error) = worker.finish() {
                    error!("{}", crash::line(&self.common.job_name, &error));
                }
                return Ok(());
            }
        }
    }

    /// Reads the configuration again; whatever is wrong with it, the job goes on as before.
    fn reload<W: Worker<Config = C>>(&mut self, worker: &mut W) {
        match self.try_reload(worker) {
            Ok(()) => {
                self.warn();
                info!("Config reloaded");
            }
            Err(error) => error!(
                "cannot reload the config, the old one stays: {}",
                chain(error.as_ref())
            ),
        }
    }

    fn try_reload<W: Worker<Config = C>>(
        &mut self,
        worker: &mut W,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let settings = self.settings.reload()?;
        let mut common: CommonConfig = settings.main()?;
        let config = settings.main()?;
        // Of a running process others know these.
        common.job_name.clone_from(&self.common.job_name);
        common.pidfile.clone_from(&self.common.pidfile);
        let log = log::prepare(&self.args, &common, settings.main_section().name())?;
        worker.reload(&common, config)?;
        log.apply();
        self.common = common;
        self.settings = settings;
        Ok(())
    }
}
