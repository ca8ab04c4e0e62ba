//! What a process fails with, stored on the subscriber for `status`.

use pgq::ConsumerName;
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::app::chain;
use skytools::daemon::Work;
use skytools::db::During;
use tracing::debug;

use super::session::Session;
use crate::Error;

/// Longest text that is stored.
const LONGEST: usize = 2000;

/// Stores errors, and that they are over, as far as the subscriber can be reached.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// An error may be stored that is not over.
    open: bool,
    /// The schema on the subscriber is of an older version.
    unknown: bool,
}

impl Default for Trouble {
    fn default() -> Trouble {
        // An earlier process may have left one.
        Trouble {
            open: true,
            unknown: false,
        }
    }
}

impl Trouble {
    /// Takes notice of how a round ended. `table` is the one that a copy fills.
    pub(crate) fn note(
        &mut self,
        result: &Result<Work, Error>,
        subscriber: &mut Session,
        consumer: &ConsumerName,
        table: Option<&str>,
    ) {
        let text = match result {
            _ if self.unknown => return,
            Ok(_) if !self.open => return,
            Ok(_) => None,
            // Another process serves the consumer; its troubles are not ours.
            Err(Error::Busy { .. }) => return,
            Err(error) => Some(chain(error).chars().take(LONGEST).collect::<String>()),
        };
        match store(subscriber, consumer, table, text.as_deref()) {
            Ok(()) => self.open = text.is_some(),
            Err(error) => {
                self.unknown = matches!(&error, Error::Db(error)
                    if error.sql_state() == Some(&SqlState::UNDEFINED_FUNCTION));
                debug!("cannot store the state of the job: {}", chain(&error));
            }
        }
    }
}

fn store(
    subscriber: &mut Session,
    consumer: &ConsumerName,
    table: Option<&str>,
    text: Option<&str>,
) -> Result<(), Error> {
    subscriber
        .open()?
        .query_typed(
            "select londiste.set_job_error($1, $2, $3)",
            &[
                (consumer, Type::TEXT),
                (&table, Type::TEXT),
                (&text, Type::TEXT),
            ],
        )
        .during("store the state of the job")?;
    Ok(())
}
