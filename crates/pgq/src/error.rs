use crate::{BatchId, ConsumerName, TickId};

/// What can go wrong between a consumer and its queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Applying the batch would lose or repeat events; a person has to decide.
    #[error("Lost position: batch {start}..{end}, dst has {applied}")]
    LostPosition {
        /// Tick after which the batch starts.
        start: TickId,
        /// Tick that ends the batch.
        end: TickId,
        /// Last tick applied at the destination.
        applied: TickId,
    },
    /// Another process runs this consumer.
    #[error("consumer {schema}.{consumer} is run by another process")]
    ConsumerBusy {
        /// Where the position is kept.
        schema: String,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The batch was finished or abandoned by somebody else.
    #[error("batch {0} is not open any more")]
    BatchGone(BatchId),
    /// A field that events do not have, or that is not for producers.
    #[error("events have no field {0}")]
    UnknownField(String),
    /// A bulk insert without the time of the events.
    #[error("a bulk insert needs the field time")]
    NoEventTime,
    /// Events could not be sent; the server's reason may follow when the copy ends.
    #[error("cannot copy events into the queue")]
    Copy(#[source] std::io::Error),
    /// A schema could not be installed.
    #[error(transparent)]
    Install(Box<skytools::install::InstallError>),
    /// A statement failed, or the connection.
    #[error(transparent)]
    Db(#[from] skytools::db::DbError),
}

impl From<skytools::install::InstallError> for Error {
    fn from(error: skytools::install::InstallError) -> Error {
        Error::Install(Box::new(error))
    }
}
