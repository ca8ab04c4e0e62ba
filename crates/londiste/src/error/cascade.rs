//! What the places of nodes in a cascade forbid.

use std::path::PathBuf;
use std::time::Duration;

use pgq::{ConsumerName, QueueName, TickId};

/// Why something cannot be done where a database has its place in a cascade, or another node its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CascadeError {
    /// `mirror_queue` is another queue.
    #[error(
        "mirror_queue = {mirror}: a relay has the queue of its provider under the same name; set \
         mirror_queue = {queue}, or remove the key"
    )]
    MirrorQueue {
        /// `mirror_queue`.
        mirror: String,
        /// `pgq_queue_name`.
        queue: QueueName,
    },
    /// The configuration says relay, the database does not.
    #[error(
        "mirror_queue is set, and subscriber_db is no relay of queue {0}; run: londiste INI \
         subscriber relay-init"
    )]
    NotRelay(QueueName),
    /// The database says relay, the configuration does not.
    #[error(
        "subscriber_db is a relay of queue {0}, whose events would be missing there; set \
         mirror_queue = {0}"
    )]
    MirrorMissing(QueueName),
    /// The database that is to be the provider does not have the queue.
    #[error(
        "the database of DSN has no queue {0}: it is no node of this cascade; correct the DSN, see: londiste INI \
         node status"
    )]
    NoNode(QueueName),
    /// The queue of a relay does not end where it should.
    #[error("mirror top tick {top}, expected {expected}")]
    MirrorTick {
        /// Its newest tick.
        top: TickId,
        /// What was expected.
        expected: String,
    },
    /// The provider's queue has another history.
    #[error(
        "queue {queue} on the provider is of lineage {theirs}, this subscriber follows lineage {ours}: \
         positions mean nothing there. Correct provider_db; or run \"londiste INI subscriber \
         unregister\" and start replay, which then copies every table"
    )]
    OtherLineage {
        /// The queue.
        queue: QueueName,
        /// Lineage of the provider.
        theirs: String,
        /// Lineage of the subscriber.
        ours: String,
    },
    /// The provider says nothing about its history, though this subscriber knows one.
    #[error(
        "queue {queue} on the provider has no lineage, this subscriber follows lineage {ours}: \
         provider_db is another database, or was restored from one. Correct provider_db; or run \
         \"londiste INI subscriber unregister\" and start replay, which then copies every table"
    )]
    NoLineage {
        /// The queue.
        queue: QueueName,
        /// Lineage of the subscriber.
        ours: String,
    },
    /// The provider is a former root, or follows one.
    #[error(
        "the provider is of generation {theirs}, this subscriber of generation {ours}: another node \
         became the root meanwhile. Use that one: londiste INI subscriber change-provider DSN"
    )]
    OlderGeneration {
        /// Generation of the provider.
        theirs: i32,
        /// Generation of the subscriber.
        ours: i32,
    },
    /// Two nodes were promoted apart, and the sides have followed different ones.
    #[error(
        "{theirs} is the root of generation {generation} to the provider, and {ours} is to this \
         subscriber: both were promoted, and what their ticks hold is not the same. Use a provider that \
         follows {ours}; or run \"londiste INI subscriber unregister\" and start replay, which then copies \
         every table"
    )]
    RivalRoot {
        /// Generation of which there are two.
        generation: i32,
        /// The provider's root.
        theirs: String,
        /// The subscriber's.
        ours: String,
    },
    /// The subscriber has changes that the new root never had.
    #[error(
        "this subscriber has applied tick {applied}, and when {node} became the root it had the \
         changes up to tick {last} only: what came between exists here alone. Run \"londiste INI \
         subscriber unregister\", name the new root in provider_db, and start replay, which then copies every \
         table; on a relay run \"londiste INI provider resurrect\""
    )]
    LostChanges {
        /// Position of the subscriber.
        applied: TickId,
        /// The new root.
        node: String,
        /// Last tick that it has of the old one.
        last: TickId,
    },
    /// A copy was taken from another node.
    #[error(
        "{table} is not settled yet ({state}), and its copy comes from another node than the \
         provider now given: transaction ids of one mean nothing on the other. Wait until replay has \
         settled it there; if that provider is gone, use --force (before replay starts: londiste INI \
         --rewind), which copies it again"
    )]
    CopyOfOther {
        /// The table.
        table: String,
        /// Its state.
        state: String,
    },
    /// The node that a table is to be copied from is not fit for it.
    #[error("tables cannot be copied from the node of --copy-from: {reason}")]
    CopySource {
        /// What is wrong with it.
        reason: String,
    },
    /// A command on a relay, with the configuration of something else.
    #[error(
        "this command works on the relay that a configuration belongs to: subscriber_db, with \
         mirror_queue = {0}"
    )]
    NeedMirrorQueue(QueueName),
    /// The subscriber database makes the ticks of the queue itself.
    #[error("subscriber_db is the root of queue {0}: there is nothing to replay")]
    IsRoot(QueueName),
    /// The provider database does not make the ticks of the queue.
    #[error("provider_db is not the root of queue {0}; only a root can be demoted")]
    NotRoot(QueueName),
    /// A relay does not publish tables that it is subscribed to.
    #[error(
        "not whole on subscriber_db: {0}. As the root it would not publish them: wait until they are ok and \
         settled, or choose another relay. With --force they are left out; then add them on the new root, \
         and copy them again on its subscribers"
    )]
    NotWhole(String),
    /// The provider is a relay that copies the table itself.
    #[error(
        "{0} is not whole on the relay that it is to be copied from; the copy begins when it is"
    )]
    PartialThere(String),
    /// Replay holds the lock of its consumer.
    #[error("replay of consumer {0} is running; stop it first")]
    NodeBusy(ConsumerName),
    /// Replay did not come to the end of its batch, or is of a version that does not make way.
    #[error(
        "replay of consumer {consumer} has not made way in {} seconds; nothing has changed. Try again \
         when it is not in a large batch, or stop it first",
        limit.as_secs_f64()
    )]
    ReplayStays {
        /// The consumer.
        consumer: ConsumerName,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Nothing has been applied, so there is nothing to go on from.
    #[error("consumer {0} has no position on the subscriber; has replay been started?")]
    NoPosition(ConsumerName),
    /// The new provider lacks the tick of the position.
    #[error(
        "the new provider does not have tick {tick}, up to which the subscriber has applied; its ticks: \
         {range}. If it is behind, use --wait; if it is past that, choose another node"
    )]
    TickNotThere {
        /// The position.
        tick: TickId,
        /// First and last tick there.
        range: String,
    },
    /// The subscriber has no place in a cascade, so the provider cannot be stored with it.
    #[error(
        "cannot store the provider: queue {0} has no lineage there, or schema londiste is of an older \
         version on one side, and this role may not change that; use --no-store and set provider_db"
    )]
    CannotStore(QueueName),
    /// Transactions that may write into the queue do not end.
    #[error(
        "transactions that were open already are not over after {0:?} (lock_timeout); nothing has changed"
    )]
    WritersStay(Duration),
    /// The subscriber is behind a demoted root.
    #[error(
        "the root is demoted, and subscriber_db has applied {applied} of its last tick {last}; run the \
         command again to wait on, or with --cancel"
    )]
    NotApplied {
        /// Last tick of the root.
        last: TickId,
        /// What is applied.
        applied: String,
    },
    /// The databases are no former and new root.
    #[error("subscriber_db is no former root of queue {0}: provider_db knows no newer generation")]
    NothingToResurrect(QueueName),
    /// A common tick is gone.
    #[error(
        "tick {tick}, where old and new root part, is gone from the queue; make the node anew: drop the \
         queue, then subscriber register, add, relay-init"
    )]
    TooOld {
        /// The tick.
        tick: TickId,
    },
    /// Events cannot be written to a file.
    #[error("cannot write the events that are lost to {}; nothing has changed", file.display())]
    Dump {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A relay may have subscribers.
    #[error(
        "subscriber_db is a relay of queue {0}: its subscribers have to change to another provider \
         first; then use --force, which drops its queue"
    )]
    RelayStays(QueueName),
}
