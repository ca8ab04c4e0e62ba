//! Cancelling a statement from beside its connection.

use std::time::Duration;

use tokio_postgres::{CancelToken, NoTls};

use super::connect::Transport;
use super::deadline::{Elapsed, within};
use super::driver::{Client, runtime};
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
        let sent = within(Some(PATIENCE), move || {
            let runtime = runtime().map_err(Elapsed::NoRuntime)?;
            Ok(match transport {
                Transport::Plain => runtime.block_on(token.cancel_query(NoTls)),
                Transport::Tls(connector) => runtime.block_on(token.cancel_query(connector)),
            })
        });
        sent.flatten()
            .map_err(|elapsed| DbError::elapsed(step, elapsed))?
            .during(step)
    }
}
