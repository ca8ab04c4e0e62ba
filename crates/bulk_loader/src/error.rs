use pgq::EventId;
use skytools::daemon::JobError;
use skytools::db::DbError;
use skytools::shape::ShapeError;
use skytools::table::TableName;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Events are of a table that the target does not have.
    #[error(
        "event {event} is of table {source_table}, but dst_db has no table {table}; create it, or set \
         missing_table = ignore"
    )]
    NoTable {
        /// The first such event.
        event: EventId,
        /// The table that it names.
        source_table: String,
        /// The table that is missing.
        table: TableName,
    },
    /// Events are of something that rows cannot be loaded into.
    #[error("{0} in dst_db is no table; rename it, or send its events elsewhere with remap_tables")]
    NotATable(TableName),
    /// A column that the target does not have.
    #[error(
        "event {event}: table {table} in dst_db has no column {column}; add it, or set drift = ignore"
    )]
    NoColumn {
        /// The first such event.
        event: EventId,
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// Columns that the target does not have, and that are to be added before the batch is applied.
    #[error("table {target} in dst_db has no columns {}", columns.join(", "))]
    NewColumns {
        /// The table of the events.
        source_table: TableName,
        /// The table that they go to.
        target: TableName,
        /// The columns.
        columns: Vec<String>,
    },
    /// Rows cannot be loaded.
    #[error("cannot load rows into {table}")]
    Load {
        /// The table.
        table: TableName,
        /// What the server says.
        source: DbError,
    },
    /// The table of the events cannot be looked up.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The source cannot be used, or something failed on the way to it.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}
