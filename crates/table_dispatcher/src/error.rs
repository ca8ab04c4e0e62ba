use pgq::EventId;
use pgq::mover::partition::PartitionError;
use skytools::daemon::JobError;
use skytools::db::DbError;
use skytools::table::TableName;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Keys that contradict each other.
    #[error("{0}")]
    Keys(&'static str),
    /// The time zone of the partitions is not one that this program knows.
    #[error("unknown time zone {0}: it has to be one of the zone database, such as Europe/Tallinn")]
    Zone(String),
    /// Tables or columns have to be made before the rows go in.
    #[error("the target is not prepared for the batch")]
    Unprepared,
    /// The target has no place for some columns.
    #[error(
        "event {event}: table {table} has no column {}; add it, leave it out of fields, or set drift",
        columns.join(", ")
    )]
    UnknownColumns {
        /// The table.
        table: TableName,
        /// What it lacks.
        columns: Vec<String>,
        /// The first such event.
        event: EventId,
    },
    /// The target refuses a row.
    #[error("event {event} cannot be put into {table}")]
    Refused {
        /// The event.
        event: EventId,
        /// The table.
        table: TableName,
        /// Why.
        source: Box<DbError>,
    },
    /// The target refuses some rows, and did not say which.
    #[error("one of the events {first} to {last} cannot be put into {table}")]
    SomeRefused {
        /// The first of them.
        first: EventId,
        /// The last.
        last: EventId,
        /// The table.
        table: TableName,
        /// Why.
        source: Box<DbError>,
    },
    /// A partition cannot be used or made.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The queue cannot be read, or an event cannot be applied.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}
