use crate::TickId;

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
    /// A statement failed, or the connection.
    #[error(transparent)]
    Db(#[from] skytools::db::DbError),
}
