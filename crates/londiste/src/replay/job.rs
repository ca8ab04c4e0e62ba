//! What replay and its copies know about the job.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use pgq::{ConsumerName, QueueName};
use skytools::daemon::{Job, Relaunch};

use super::ahead::Reader;
use super::apply::Manner;
use crate::config::ApplyRole;
use crate::{Config, Error};

/// Settings of the job, names made from them, and how to start a copy of it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) queue: QueueName,
    /// Consumer of replay.
    pub(crate) consumer: ConsumerName,
    /// How many tables may be in progress.
    pub(crate) slots: usize,
    /// How often a hand-over looks at the other side.
    pub(crate) sync_poll: Duration,
    pub(crate) apply_role: ApplyRole,
    pub(crate) manner: Manner,
    /// This subscriber is a relay.
    pub(crate) relay: Option<RelaySettings>,
    /// Name of the job, as sessions show it.
    pub(crate) job_name: String,
    /// How this program was started.
    relaunch: Relaunch,
    /// The configured pidfile, without a suffix.
    pidfile: Option<PathBuf>,
}

/// What replay of a relay knows beside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelaySettings {
    /// How often the provider is told what may go here.
    pub(crate) local_watermark: Duration,
    /// How often the root tells everybody what may go.
    pub(crate) global_watermark: Duration,
}

impl Settings {
    pub(crate) fn new(job: &Job<Config>) -> Result<Settings, Error> {
        let consumer = job.config.consumer(&job.common);
        if is_copy_name(consumer.as_str()) {
            return Err(Error::ReservedName(consumer));
        }
        let mut settings = Settings {
            queue: job.config.pgq_queue_name.clone(),
            consumer,
            slots: 0,
            sync_poll: Duration::ZERO,
            apply_role: job.config.apply_role(),
            relay: None,
            job_name: job.common.job_name.clone(),
            manner: job.config.manner(),
            relaunch: job.relaunch(),
            pidfile: job.common.pidfile.clone(),
        };
        settings.reload(&job.config);
        Ok(settings)
    }

    /// Takes the keys that may change while a process runs.
    pub(crate) fn reload(&mut self, config: &Config) {
        self.slots = usize::try_from(config.parallel_copies).unwrap_or(usize::MAX);
        self.sync_poll = config.sync_poll.max(Duration::from_millis(10));
        self.relay = config.is_relay().then_some(RelaySettings {
            local_watermark: config.local_wm_publish_period,
            global_watermark: config.global_wm_publish_period,
        });
        self.manner = config.manner();
    }

    /// Whose batches replay reads; with `merges` several ticks at once, if that is worth it.
    pub(crate) fn reader(&self, merges: bool) -> Reader {
        Reader {
            queue: self.queue.clone(),
            consumer: self.consumer.clone(),
            chunk: self.manner.chunk,
            merges,
        }
    }

    /// Consumer by which a relay tells its provider what may go.
    pub(crate) fn watermark_consumer(&self) -> ConsumerName {
        watermark_consumer(&self.consumer)
    }

    /// Consumer of the copy of a table; of the only copy, without a table.
    pub(crate) fn copy_consumer(&self, table: Option<&str>) -> ConsumerName {
        ConsumerName::from(match table {
            None => format!("{}_copy", self.consumer),
            Some(table) => format!("{}_copy.{table}", self.consumer),
        })
    }

    /// The table in the name of a copy's consumer; `None` if it is no copy of this job, `Some(None)`
    /// for the only copy.
    pub(crate) fn table_of_copy<'a>(&self, consumer: &'a str) -> Option<Option<&'a str>> {
        let rest = consumer
            .strip_prefix(self.consumer.as_str())?
            .strip_prefix("_copy")?;
        match rest {
            "" => Some(None),
            _ => rest.strip_prefix('.').map(Some),
        }
    }

    /// The command that starts the copy of a table; of the only copy, without one.
    pub(crate) fn copy_command(&self, table: Option<&str>) -> Command {
        let mut command = self.relaunch.command();
        command.arg("copy").args(table).env(STARTED_BY_REPLAY, "1");
        command
    }

    /// Pidfile of the copy of a table; of the only copy, without one.
    pub(crate) fn copy_pidfile(&self, table: Option<&str>) -> Option<PathBuf> {
        let mut path = self.pidfile.clone()?.into_os_string();
        path.push(copy_pidfile_suffix(table));
        Some(path.into())
    }
}

/// In the environment of copies that replay starts.
const STARTED_BY_REPLAY: &str = "LONDISTE_STARTED_BY_REPLAY";

/// Whether this process is a copy that replay has started, not a person.
pub(crate) fn is_started_by_replay() -> bool {
    std::env::var_os(STARTED_BY_REPLAY).is_some()
}

/// Consumer by which a relay tells its provider what may go.
pub(crate) fn watermark_consumer(consumer: &ConsumerName) -> ConsumerName {
    ConsumerName::from(format!("{consumer}.wm"))
}

/// A job of such a name could not be told from the copy of another job.
pub(super) fn is_copy_name(consumer: &str) -> bool {
    consumer.ends_with("_copy") || consumer.contains("_copy.")
}

/// Suffix of the pidfile of the copy of a table; of the only copy, without one.
pub(crate) fn copy_pidfile_suffix(table: Option<&str>) -> String {
    match table {
        None => ".copy".to_owned(),
        // A table's name may hold what a file's name cannot.
        Some(table) => format!(".copy.{}", table.replace('/', "%2F")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use skytools::app::CommonArgs;

    use super::*;

    fn settings() -> Settings {
        let mut common = CommonArgs::default();
        common.verbose = 1;
        common.daemon = true;
        Settings {
            queue: QueueName::from("q"),
            consumer: ConsumerName::from("job"),
            slots: 1,
            sync_poll: Duration::ZERO,
            apply_role: ApplyRole::Origin,
            relay: None,
            job_name: "job".to_owned(),
            manner: Manner::default(),
            relaunch: Relaunch::new(&common, Path::new("r.ini")),
            pidfile: Some(PathBuf::from("/run/job.pid")),
        }
    }

    #[test]
    fn copies_are_told_by_their_consumer() {
        let settings = settings();
        for table in [None, Some("public.t")] {
            let consumer = settings.copy_consumer(table);
            assert_eq!(settings.table_of_copy(consumer.as_str()), Some(table));
        }
        for other in ["job", "job_copyx", "job2_copy", "jo"] {
            assert_eq!(settings.table_of_copy(other), None, "{other}");
        }
    }

    #[test]
    fn a_job_may_not_look_like_a_copy() {
        assert!(is_copy_name("rep_copy") && is_copy_name("rep_copy.public.t"));
        assert!(!is_copy_name("copy") && !is_copy_name("rep_copy2"));
    }

    #[test]
    fn a_copy_is_started_with_the_options_of_replay() {
        let command = settings().copy_command(Some("public.t"));
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["-v", "-d", "r.ini", "copy", "public.t"]);
    }

    #[test]
    fn pidfiles_of_copies_are_files_beside_that_of_the_job() {
        let pidfile = |table| settings().copy_pidfile(table).unwrap();
        assert_eq!(pidfile(None), PathBuf::from("/run/job.pid.copy"));
        assert_eq!(
            pidfile(Some("public.a/b")),
            PathBuf::from("/run/job.pid.copy.public.a%2Fb")
        );
    }
}
