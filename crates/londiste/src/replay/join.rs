//! Meeting the provider: which one it is, and whether positions mean something there.

use postgres::types::Type;
use skytools::db::{Connection, During};

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
    let (provider, subscriber) = (provider.open()?, subscriber.open()?);
    insist_apart(provider, subscriber)?;
    if node::meet(queue, consumer, provider, subscriber)?.moved
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

/// Makes sure that the two sides are not one database, whose tables would be copied onto themselves.
///
/// # Errors
/// They are.
pub(crate) fn insist_apart(
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    // A copy of the server's files has its identifiers too, but not its locks.
    let mut tx = provider.begin()?;
    let key: i64 = tx
        .query_typed_one(
            "select k from (select pg_catalog.hashtextextended(pg_catalog.concat(\
                 pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp(), pg_catalog.random()), 0) as k offset 0) r \
             where pg_catalog.pg_try_advisory_xact_lock(k)",
            &[],
        )
        .during("tell the two databases apart")?
        .get(0);
    let is_apart: bool = subscriber
        .query_typed_one(
            "select pg_catalog.pg_try_advisory_xact_lock($1)",
            &[(&key, Type::INT8)],
        )
        .during("tell the two databases apart")?
        .get(0);
    tx.rollback()?;
    match is_apart {
        true => Ok(()),
        false => Err(Error::SameDatabase),
    }
}
