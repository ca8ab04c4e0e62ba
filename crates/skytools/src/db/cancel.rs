//! Cancelling a statement from beside its connection.

use std::time::Duration;

use postgres::{CancelToken, Client, NoTls};

use super::connect::Transport;
use super::deadline::within;
use super::{DbError, During};

/// Time for a cancel request to reach the server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server to cancel what a connection is running; works from another thread.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    transport: Transport,
}

impl Canceller {
    pub(super) fn new(client: &Client, transport: Transport) -> Canceller {
        Canceller {
            token: client.cancel_token(),
            transport,
        }
    }

    /// Sends the request; the statement may have ended before it arrives.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn cancel(&self) -> Result<(), DbError> {
        let step = "cancel a statement";
        let Canceller { token, transport } = self.clone();
        within(Some(PATIENCE), move || match transport {
            Transport::Plain => token.cancel_query(NoTls),
            Transport::Tls(connector) => token.cancel_query(connector),
        })
        .map_err(|elapsed| DbError::elapsed(step, elapsed))?
        .during(step)
    }
}
