use skytools::app::UsageError;
use skytools::daemon::JobError;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program cannot start.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The command line asks for nothing that can be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A command that changes something, on no job.
    #[error("need job names, -a for all jobs, or -t SERVICE")]
    NeedJobs,
    /// Some services name a user and some do not: one that was forgotten would run as somebody else.
    #[error("user is set for {}, but not for {}: set it for all services or for none", with.join(", "), without.join(", "))]
    SomeUsers {
        /// Services with a user.
        with: Vec<String>,
        /// Services without one.
        without: Vec<String>,
    },
    /// The results cannot be written, or signals cannot be waited for.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
