use std::path::PathBuf;

use crate::batch::EventTime;
use crate::{BatchId, ConsumerName, EventId, QueueName, TickId};

/// What can go wrong between a consumer and its queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Applying the batch would lose or repeat events; a person has to decide.
    #[error("Lost position: batch {start}..{end}, dst has {applied}")]
    LostPosition {
        /// Tick after which the batch starts.
        start: TickId,
        /// Tick that ends the batch.
        end: TickId,
        /// Last tick applied at the destination.
        applied: TickId,
    },
    /// The source's past is not the one that was applied; a person has to decide.
    #[error(
        "Lost position: tick {tick} of {known} is applied, and at the source that number is another one of {found}: \
         it has lost its newest events, as in a failover or a restore, and the destination has more than it. \
         --reset goes on with what the source has; what the destination has of that comes twice"
    )]
    OtherTick {
        /// Last tick applied at the destination.
        tick: TickId,
        /// When it was made.
        known: EventTime,
        /// When the source made the one that it has.
        found: EventTime,
    },
    /// A connect string does not parse.
    #[error("{key} is no connect string")]
    ConnInfo {
        /// Configuration key.
        key: &'static str,
        /// What is wrong with it.
        source: skytools::conninfo::ConnInfoError,
    },
    /// Another process runs this consumer.
    #[error("consumer {schema}.{consumer} is run by another process")]
    ConsumerBusy {
        /// Where the position is kept.
        schema: String,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The batch was finished or abandoned by somebody else.
    #[error("batch {0} is not open any more")]
    BatchGone(BatchId),
    /// Somebody has deleted the tick that ends the open batch.
    #[error("tick {0}, which ends the open batch, is gone from the queue")]
    TickGone(TickId),
    /// A handler has given an event up, and the server has no place for it.
    #[error("event {event} has failed, and pgq has no queue of failed events: {reason}")]
    NoFailedQueue {
        /// The event.
        event: EventId,
        /// Why it was given up.
        reason: String,
    },
    /// A setting that this kind of consumer needs.
    #[error("Config value not set: {0}")] // text fixed by the reference
    NotSet(&'static str),
    /// Another process has moved the position at the destination while the batch was applied.
    #[error("the position of consumer {0} at the destination was moved by another process")]
    Overtaken(ConsumerName),
    /// The registration is gone, and with it the place in the queue: events may have been missed.
    #[error(
        "consumer {consumer} is not registered on queue {queue} any more, so events may be missing; {}",
        advice(*.applied)
    )]
    LostRegistration {
        /// The queue.
        queue: QueueName,
        /// The consumer.
        consumer: ConsumerName,
        /// Last tick applied at the destination.
        applied: Option<TickId>,
    },
    /// The consumer has to be registered first.
    #[error("consumer {consumer} is not registered on queue {queue}; --register does it")]
    NotRegistered {
        /// The queue.
        queue: QueueName,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// There is nothing to register the consumer on.
    #[error("queue {0} does not exist at the source; `pgqadm INI create {0}` makes it")]
    NoQueue(QueueName),
    /// The consumer was unregistered by somebody else.
    #[error("the consumer is not registered any more")]
    Unregistered,
    /// The file with the position cannot be used.
    #[error("cannot keep the position in {}", path.display())]
    Tracking {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A field that events do not have, or that is not for producers.
    #[error("events have no field {0}")]
    UnknownField(String),
    /// A bulk insert without the time of the events.
    #[error("a bulk insert needs the field time")]
    NoEventTime,
    /// Events could not be sent; the server's reason may follow when the copy ends.
    #[error("cannot copy events into the queue")]
    Copy(#[source] std::io::Error),
    /// The server has sent something else than an event.
    #[error("the source has sent an event that cannot be read")]
    UnreadableEvent,
    /// The events of a batch stand too far out of order where they are read: the batch comes again, sorted by the source.
    #[error("the events of the batch do not come in their order")]
    OutOfOrder,
    /// An encoding that no database can have.
    #[error("source_encoding: {0} is no encoding of a database")]
    UnknownEncoding(String),
    /// An event that cannot be applied, and nobody has said that it may be left out.
    #[error("event {event} cannot be applied: {reason}; see bad_event")]
    BadEvent {
        /// The event.
        event: EventId,
        /// Why not.
        reason: String,
    },
    /// More events than the configuration has given up.
    #[error(
        "the target refuses more than {limit} events of the batch, event {event} among them: {reason}; \
         mend that, or see bad_row_limit"
    )]
    ManyRefused {
        /// How many may be left out.
        limit: usize,
        /// The one over that.
        event: EventId,
        /// Why.
        reason: String,
    },
    /// The table for events that cannot be applied is not there, or is another one.
    #[error(
        "dst_db has no table {table} for events that cannot be applied{}",
        if .missing.is_empty() { String::new() } else { format!(" with {}", .missing) }
    )]
    NoQuarantine {
        /// The table.
        table: String,
        /// Columns that it lacks, if it is there.
        missing: String,
    },
    /// The role may not write to the table for events that cannot be applied.
    #[error(
        "the role may not insert into {0}, the table of dst_db for events that cannot be applied"
    )]
    NoQuarantineRights(String),
    /// The role lacks privileges.
    #[error("the role of {database} needs: {}", grants.join("; "))]
    Denied {
        /// Configuration key of the connection.
        database: &'static str,
        /// Statements that give it what it lacks.
        grants: Vec<String>,
        /// What was refused first.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database has no schema of PgQ.
    #[error("PgQ is not installed in this database")]
    NoSchema,
    /// The schema is newer than what this program brings.
    #[error("{schema} is of version {found}, newer than {bundled}, and there is no way back")]
    NewerSchema {
        /// The schema.
        schema: String,
        /// Its version.
        found: String,
        /// Version of the scripts.
        bundled: String,
    },
    /// The schema belongs to an extension, which alone may change it.
    #[error(
        "{schema} belongs to the extension {extension}{}",
        if *.ours { "" } else { ", which is not this program's: it may lack functions and fixes" }
    )]
    InExtension {
        /// The schema.
        schema: String,
        /// Name and version of the extension.
        extension: String,
        /// Whether the extension was made of this program's scripts.
        ours: bool,
    },
    /// A schema could not be installed.
    #[error(transparent)]
    Install(Box<skytools::install::InstallError>),
    /// A statement failed, or the connection.
    #[error(transparent)]
    Db(#[from] skytools::db::DbError),
}

/// What can be done about a lost registration.
fn advice(applied: Option<TickId>) -> String {
    let anew = "--register does so at the newest tick";
    match applied {
        Some(tick) => format!(
            "--rewind registers it at tick {tick}, which the destination has reached, {anew}"
        ),
        None => anew.to_owned(),
    }
}

impl From<skytools::install::InstallError> for Error {
    fn from(error: skytools::install::InstallError) -> Error {
        Error::Install(Box::new(error))
    }
}
