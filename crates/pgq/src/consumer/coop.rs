use std::time::Duration;

use skytools::daemon::{Context, Work};
use skytools::db::{Database, Tx};

use super::{Consumer, ConsumerArgs, ConsumerConfig};
use crate::Error;
use crate::batch::{Disposition, Event};

/// One of several processes that share the batches of a consumer; handles each event by itself.
///
/// Its key `subconsumer_name` tells it from the others. A process silent for longer than
/// `subconsumer_timeout` loses its batch to another: then [`Error::BatchGone`] ends its round, and
/// what it did in the transaction it was given is undone. What it did elsewhere happens twice.
pub struct CoopConsumer {
    member: Consumer,
}

impl CoopConsumer {
    /// A consumer that connects when it is first used. The database needs the schema `pgq_coop`.
    ///
    /// # Errors
    /// [`Error::NotSet`]: the settings have no subconsumer.
    pub fn new(db: Database, config: ConsumerConfig) -> Result<CoopConsumer, Error> {
        let name = config
            .subconsumer
            .clone()
            .ok_or(Error::NotSet("subconsumer_name"))?;
        Ok(CoopConsumer {
            member: Consumer::of_member(db, config, name),
        })
    }

    /// Runs what the options ask for instead of the work loop. True if they did.
    ///
    /// # Errors
    /// A statement failed; the member to be removed has an open batch.
    pub fn command(&mut self, args: ConsumerArgs) -> Result<bool, Error> {
        self.member.command(args)
    }

    /// Takes one batch and hands each of its events to `handle`, with the source's transaction.
    ///
    /// # Errors
    /// What `handle` returned, or the source failed; the batch will be repeated, by this process or
    /// another.
    pub fn work<E: From<Error>>(
        &mut self,
        context: &mut Context,
        handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<Work, E> {
        self.member.work(context, handle)
    }

    /// Waits after an idle round until the queue ticks, `delay` at most.
    ///
    /// Ticks are heard of queues whose setting `notify` is on; see `pgq_listen`.
    pub fn pause(&mut self, context: &Context, delay: Duration) {
        self.member.pause(context, delay);
    }

    /// Drops the connection after a failed round.
    pub fn recover(&mut self) {
        self.member.recover();
    }

    /// Closes a connection past its lifetime, between two rounds.
    pub fn between(&mut self) {
        self.member.between();
    }
}
