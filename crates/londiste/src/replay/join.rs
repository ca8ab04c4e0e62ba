//! Meeting the provider: which one it is, and whether positions mean something there.

use super::job::Settings;
use super::session::Session;
use super::state;
use crate::{CascadeError, Error, node};

/// Turns to the provider that was stored on the subscriber, if there is one.
pub(crate) fn redirect(
    settings: &Settings,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<(), Error> {
    if let Some(conninfo) = node::provider(subscriber.open()?, &settings.queue)? {
        provider.redirect(conninfo.with_application_name(&settings.job_name));
    }
    Ok(())
}

/// Turns to the right provider, and makes sure that it is one.
///
/// # Errors
/// It is the subscriber itself; or positions mean nothing there; or copies under way come from another node.
pub(crate) fn join(
    settings: &Settings,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<(), Error> {
    redirect(settings, provider, subscriber)?;
    let (queue, consumer) = (&settings.queue, &settings.consumer);
    let meet = match subscriber.takes_lock_of(consumer) {
        true => node::meet_with_lock,
        false => node::meet,
    };
    let (provider, subscriber) = (provider.open()?, subscriber.open()?);
    if meet(queue, consumer, provider, subscriber)?.moved
        && let Some(table) = state::unsettled(subscriber, queue)?.into_iter().next()
    {
        return Err(CascadeError::CopyOfOther {
            table: table.name,
            state: table.state.to_string(),
        }
        .into());
    }
    node::join(queue, consumer, provider, subscriber)
}
