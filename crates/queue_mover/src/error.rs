use pgq::QueueName;
use skytools::daemon::JobError;
use skytools::db::DbError;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Every event moved would be moved again, for ever.
    #[error("queue {0} would be moved into itself: src_db and dst_db are the same database")]
    SameQueue(QueueName),
    /// There is nothing to move events into; the job goes on when there is.
    #[error("queue {0} does not exist at the target; `pgqadm INI create {0}` makes it")]
    NoTarget(QueueName),
    /// The source or the target of the events cannot be used as a queue.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}
