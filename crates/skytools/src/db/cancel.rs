//! Cancelling a statement from beside its connection.

use postgres::{CancelToken, Client, NoTls};

use super::{DbError, During};

/// Asks the server to cancel what a connection is running.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
}

impl Canceller {
    pub(super) fn new(client: &Client) -> Canceller {
        Canceller {
            token: client.cancel_token(),
        }
    }

    /// Sends the request; the statement may have ended before it arrives.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn cancel(&self) -> Result<(), DbError> {
        self.token.cancel_query(NoTls).during("cancel a statement")
    }
}
