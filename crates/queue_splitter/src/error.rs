use pgq::{EventId, QueueName};
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
    #[error(
        "event {event} is for queue {queue}, which it comes from: src_db and dst_db are the same \
         database"
    )]
    SameQueue {
        /// The queue.
        queue: QueueName,
        /// The first such event.
        event: EventId,
    },
    /// An event is for a queue that does not exist.
    #[error(
        "event {event} is for queue {queue}, which dst_db does not have; create it, or set \
         missing_queue"
    )]
    NoQueue {
        /// The queue.
        queue: QueueName,
        /// The first such event.
        event: EventId,
    },
    /// An event does not say which queue it is for.
    #[error("event {event} is for no queue: its {column} is {what}; set missing_queue")]
    Nameless {
        /// The event.
        event: EventId,
        /// The column that should name a queue.
        column: &'static str,
        /// What is there instead.
        what: &'static str,
    },
    /// The queue for events that have no other does not exist.
    #[error("queue {0} of missing_queue does not exist in dst_db")]
    NoDefaultQueue(QueueName),
    /// The source or a target of the events cannot be used as a queue.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}
