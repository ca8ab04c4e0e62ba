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
    /// The source cannot be used as a queue, the target has no position, or an event cannot be applied.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    /// A table for a period cannot be used or made.
    #[error(transparent)]
    Partition(PartitionError),
    /// Tables are to be made before anything can be applied.
    #[error("table {0} and perhaps others do not exist yet")]
    Unprepared(TableName),
    /// The batch has no end, or the pattern makes nothing of it.
    #[error("dateformat {0:?} makes no name of the end of the batch")]
    NoPeriod(String),
    /// An event has a column that the table has not.
    #[error(
        "event {event} has a column {column}, which table {table} does not have; add it, or set drift"
    )]
    UnknownColumn {
        /// The first such event.
        event: EventId,
        /// The column.
        column: String,
        /// The table.
        table: TableName,
    },
    /// The server is to know of partitions, and no column says which one a row is for.
    #[error(
        "part_style = declarative needs part_time_column: the period of a row is in none of its columns"
    )]
    NoTimeColumn,
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}

impl From<PartitionError> for Error {
    fn from(error: PartitionError) -> Error {
        match error {
            PartitionError::Db(error) => error.into(),
            error => Error::Partition(error),
        }
    }
}
