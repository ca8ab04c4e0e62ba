//! Notifications of a connection.

use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;

use super::Connection;

/// How a wait for a notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// One came, or several; all that are there have been taken.
    Notification,
    /// The time is over.
    Nothing,
    /// The connection is gone.
    Lost,
}

impl Connection {
    /// Waits until a notification is there, but not longer than `delay`, which cannot be cut short.
    pub(crate) fn wait_for_notification(&mut self, delay: Duration) -> Heard {
        let mut notifications = self.notifications();
        let first = notifications.timeout_iter(delay).next();
        if let Ok(Some(notification)) = first {
            tracing::trace!("notified on {}", notification.channel());
            let mut rest = notifications.iter();
            // Whether the connection is lost is for the next statement to find out.
            while let Ok(Some(_)) = rest.next() {}
            return Heard::Notification;
        }
        let failed = first.is_err();
        drop(notifications);
        if failed || !self.is_open() {
            Heard::Lost
        } else {
            Heard::Nothing
        }
    }
}
