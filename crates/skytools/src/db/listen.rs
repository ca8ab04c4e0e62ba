//! Notifications of a connection.

use std::time::{Duration, Instant};

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
    /// Waits until a notification with a payload that `is_wanted` is there, but not longer than
    /// `delay`, which cannot be cut short. Others are dropped on the way.
    pub(crate) fn wait_for_notification(
        &mut self,
        delay: Duration,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Heard {
        let end = Instant::now() + delay;
        let failed = loop {
            let rest = end.saturating_duration_since(Instant::now());
            match self.driver().notification(rest) {
                Ok(Some(notification)) if is_wanted(notification.payload()) => {
                    tracing::trace!("notified on {}", notification.channel());
                    // Whether the connection is lost is for the next statement to find out.
                    while let Ok(Some(_)) = self.driver().notification(Duration::ZERO) {}
                    return Heard::Notification;
                }
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if failed || !self.is_open() {
            Heard::Lost
        } else {
            Heard::Nothing
        }
    }
}
