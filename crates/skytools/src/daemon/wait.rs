//! Waiting until the server says that there is work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::debug;

use super::Context;
use crate::db::{Connection, Database, Heard};

/// How long to wait when nothing can be heard, if `delay` is longer: whether the server is there
/// again is worth a look by then.
const DEAF: Duration = Duration::from_secs(1);

/// Time beyond the delay for the thread that listens to come back.
const GRACE: Duration = Duration::from_secs(1);

impl Context {
    /// Waits until a notification arrives on a channel that [`Database::listen`] named: for `delay`
    /// at most, and not past a stop or reload request. What arrived since the last wait counts, so
    /// nothing is missed between looking for work in vain and waiting.
    ///
    /// A worker calls it from [`Worker::pause`](super::Worker::pause):
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use skytools::daemon::Context;
    /// # use skytools::db::Database;
    /// # struct Consumer { source: Database }
    /// # impl Consumer {
    /// fn pause(&mut self, context: &Context, delay: Duration) {
    ///     context.wait_for_notification(&mut self.source, delay);
    /// }
    /// # }
    /// ```
    ///
    /// Without a channel it just waits. A connection that is lost meanwhile is dropped and the wait
    /// cut to a second; one that was closed for its age is replaced, and the round that follows at
    /// once finds what was said in between. A reload leaves the connection to close by itself.
    pub fn wait_for_notification(&self, database: &mut Database, delay: Duration) {
        self.wait_for_payload(database, delay, |_| true);
    }

    /// As [`Context::wait_for_notification`], but sleeps on over notifications whose payload is not
    /// wanted.
    pub fn wait_for_payload(
        &self,
        database: &mut Database,
        delay: Duration,
        is_wanted: impl Fn(&str) -> bool + Send + 'static,
    ) {
        if !database.listens() {
            self.stop.pause(delay);
            return;
        }
        if !database.is_open() {
            match database.connection() {
                Ok(_) => {}
                Err(error) => {
                    debug!("{}", crate::app::chain(&error));
                    self.stop.pause(delay.min(DEAF));
                }
            }
            return;
        }
        let start = Instant::now();
        let heard = match database.lend() {
            Some(connection) => self.listen(connection, delay, is_wanted),
            None => None,
        };
        match heard {
            Some((connection, Heard::Notification | Heard::Nothing)) => {
                database.give_back(connection);
            }
            // A wait that a signal has ended.
            None => {}
            Some((_, Heard::Lost)) => {
                debug!("the connection to {} is lost", database.name());
                let rest = delay.saturating_sub(start.elapsed());
                self.stop.pause(rest.min(DEAF));
            }
        }
    }

    /// Lets a thread listen, since the driver cannot be interrupted, and waits for it. `None` if a
    /// request came first; the thread then closes the connection when its time is over.
    fn listen(
        &self,
        mut connection: Connection,
        delay: Duration,
        is_wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Option<(Connection, Heard)> {
        let result = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&result);
        let stop = self.stop.clone();
        stop.rest();
        let listener = std::thread::Builder::new()
            .name("listen".to_owned())
            .spawn(move || {
                let heard = connection.wait_for_notification(delay, is_wanted);
                let mut result = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                *result = Some((connection, heard));
                drop(result);
                stop.wake();
            });
        match listener {
            Ok(_) => self.stop.pause_until_awake(delay.saturating_add(GRACE)),
            // The connection went with the thread that could not be started.
            Err(_) => self.stop.pause(delay),
        };
        result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
