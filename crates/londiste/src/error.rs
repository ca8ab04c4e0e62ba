mod cascade;
mod verify;

use std::path::PathBuf;

use pgq::{ConsumerName, EventId, QueueName, TickId};
use postgres::error::SqlState;
use skytools::app::UsageError;
use skytools::conninfo::ConnInfoError;
use skytools::daemon::JobError;
use skytools::db::{DbError, out_of_locks_on, sql_state_of};
use skytools::dbstruct::StructError;
use skytools::full_copy::CopyError;
use skytools::install::InstallError;
use skytools::snapshot::SnapshotError;
use skytools::table::{NameError, TableError};

use crate::execute::ScriptError;

pub use self::cascade::CascadeError;
pub use self::verify::VerifyError;

/// What can end or interrupt a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The place in a cascade, or that of another node, does not allow it.
    #[error(transparent)]
    Cascade(#[from] CascadeError),
    /// Tables cannot be compared or repaired.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A key that the command needs is missing.
    #[error("Config value not set: {0}")]
    NotSet(&'static str),
    /// A connect string does not parse.
    #[error("{key} is no connect string")]
    ConnInfo {
        /// Configuration key.
        key: &'static str,
        /// What is wrong with it.
        source: ConnInfoError,
    },
    /// Both connect strings lead to one database.
    #[error(
        "provider_db and subscriber_db are the same database, whose tables would be copied onto themselves; \
         correct the connect strings"
    )]
    SameDatabase,
    /// `method` has a value that never existed.
    #[error("unknown method, quitting")]
    UnknownMethod,
    /// `method` names one of the unfinished file methods.
    #[error("method = {0} is not supported; use method = direct")]
    FileMethod(String),
    /// The schema lacks what a newer version has.
    #[error("londiste in {side}_db is of an older version; run: londiste INI upgrade {side}")]
    NeedsUpgrade {
        /// Which database.
        side: &'static str,
    },
    /// `parallel_copies` is zero.
    #[error("parallel_copies is 0; it must be at least 1")]
    NoCopies,
    /// The command line asks for nothing that can be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// `provider` or `subscriber` alone.
    #[error("need subcommand, use --help for help")]
    NeedSubcommand,
    /// A subcommand of `provider` or `subscriber` that does not exist.
    #[error("bad subcommand: {0}, use --help for help")]
    BadSubcommand(String),
    /// A command on tables or sequences names none.
    #[error("no names given; name some, or use --all")]
    NeedNames,
    /// Two options of `subscriber add` that exclude each other.
    #[error("Too many options: --expect-sync and --skip-truncate")]
    TooManyOptions,
    /// An option that the command does not know.
    #[error("{0} belongs to \"{1}\": this command would pass over it")]
    OptionOf(&'static str, &'static str),
    /// `--rewind` or `--reset` beside a command.
    #[error("{0} is a command of its own: give it without another one")]
    OptionAlone(&'static str),
    /// `fake` is set, and the command cannot be rolled back.
    #[error(
        "fake = 1: what \"{0}\" does cannot be rolled back, so it does nothing; remove fake to have it done"
    )]
    CannotFake(&'static str),
    /// `--expect-sync` and `--copy-from` together.
    #[error("--expect-sync copies nothing, so --copy-from says nothing")]
    NothingToCopy,
    /// A name on the command line cannot be read.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A schema is missing.
    #[error("schema {schema} is missing in {side}_db; run: londiste INI {side} install")]
    NotInstalled {
        /// `pgq` or `londiste`.
        schema: &'static str,
        /// `provider` or `subscriber`.
        side: &'static str,
    },
    /// The schema is of a newer version.
    #[error(
        "londiste in {side}_db is of version {installed}, newer than this program's {bundled}; there \
         is no way back"
    )]
    NewerSchema {
        /// `provider` or `subscriber`.
        side: &'static str,
        /// Version of the schema.
        installed: String,
        /// Version of the program.
        bundled: String,
    },
    /// The schema is that of Londiste 3.
    #[error(
        "schema londiste in {side}_db is not of SkyTools 2.1 or this program, but of Londiste 3; \
         docs/moving.md tells how to take over from it"
    )]
    ForeignSchema {
        /// `provider` or `subscriber`.
        side: &'static str,
    },
    /// The queue of the configuration does not exist.
    #[error("Event queue does not exist yet: {0}; run: londiste INI provider install")]
    NoQueue(QueueName),
    /// The subscriber's table feeds another queue.
    #[error(
        "trigger {trigger} writes changes of {table} into a queue; put aside, that queue would \
         miss changes; use --force, or --expect-sync to keep it"
    )]
    Captured {
        /// The subscriber's table.
        table: String,
        /// Its trigger.
        trigger: String,
    },
    /// A trigger would make changes of some roles fail.
    #[error(
        "{roles} may change {table} and not write into queues, so that their changes would fail; \
         give them the role pgq_writer, use another --capture, or --force"
    )]
    ShutOut {
        /// The provider's table.
        table: String,
        /// The roles, quoted for SQL.
        roles: String,
    },
    /// Another process holds the lock of the consumer.
    #[error("replay of consumer {0} is running; stop it first, or use --force")]
    ReplayRuns(ConsumerName),
    /// A script cannot be read.
    #[error("cannot read the script {}", file.display())]
    ReadScript {
        /// Its file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A script is not text.
    #[error("the script {} is not UTF-8", .0.display())]
    ScriptEncoding(PathBuf),
    /// A script is not one that can be run in the stream.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// Tables are being copied, and a script would run before or behind them, nobody knows.
    #[error(
        "tables are being copied: {0}; run the script when they are in sync, see: londiste INI \
         subscriber wait-sync"
    )]
    CopiesRun(String),
    /// A script came while a table is in a state that may or may not contain what it does.
    #[error("the script in event {event} has to wait for tables that are being copied: {tables}")]
    ScriptWaits {
        /// The event.
        event: EventId,
        /// The tables.
        tables: String,
    },
    /// A definition cannot be read, or made.
    #[error(transparent)]
    Struct(#[from] StructError),
    /// The role lacks a privilege to make what the subscriber lacks.
    #[error(
        "cannot create {relation}; the role of subscriber_db needs: grant create on schema {schema}, or \
         create on the database for a new schema"
    )]
    MayNotCreate {
        /// Its schema.
        schema: String,
        /// The table or sequence.
        relation: String,
        /// What the server says.
        source: Box<Error>,
    },
    /// The server refused what the role has no privilege for.
    #[error("the role of {database} needs: {}", grants.join("; "))]
    Denied {
        /// Configuration key of the database, or what else its connect string came from.
        database: String,
        /// Statements that give the role what it lacks.
        grants: Vec<String>,
        /// What was refused.
        source: Box<Error>,
    },
    /// A table that has to be subscribed is not.
    #[error("Table {0} is not subscribed; run: londiste INI subscriber add {0}")]
    NotSubscribed(String),
    /// Tables did not become `ok` in time.
    #[error("the time is over, and these tables are not in sync: {0}; see: londiste INI status")]
    NotSynced(String),
    /// A relation cannot be looked up.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Installing the schema failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The job's consumer is not registered.
    #[error("No such consumer: {0}; has replay been started?")]
    NoConsumer(ConsumerName),
    /// No tick came.
    #[error("Ticker seems dead; is pgqadm ticker running on provider_db?")]
    TickerDead,
    /// A signal ended the command.
    #[error("interrupted")]
    Interrupted,
    /// Stdout cannot be written.
    #[error("cannot print the result")]
    Output(#[source] std::io::Error),
    /// The name of the job is one that copies of another job have.
    #[error(
        "consumer {0} has a name that copies have; a job or consumer name may neither end in \
         \"_copy\" nor contain \"_copy.\""
    )]
    ReservedName(ConsumerName),
    /// Another process works for the same consumer.
    #[error("consumer {consumer} is served by another process")]
    Busy {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The consumer vanished from the queue, and so did the place where it stood.
    #[error(
        "consumer {consumer} is not registered on queue {queue} any more, and tick {tick}, up to \
         which the subscriber has applied, is gone from the queue: changes are lost. Run \"londiste \
         INI --reset\", then \"londiste INI subscriber resync --all\", and start replay again"
    )]
    LostRegistration {
        /// The consumer.
        consumer: ConsumerName,
        /// The queue.
        queue: QueueName,
        /// The position stored on the subscriber.
        tick: TickId,
    },
    /// The consumer cannot be moved to the position of the subscriber.
    #[error(
        "cannot reposition, tick not found: {tick}: queue {queue} does not hold what comes after it any more, so \
         changes are lost. Run \"londiste INI --reset\", then \"londiste INI subscriber resync --all\", and start \
         replay again"
    )]
    TickGone {
        /// The position stored on the subscriber.
        tick: TickId,
        /// The queue.
        queue: QueueName,
    },
    /// The provider's past is not the one that was applied.
    #[error(
        "Lost position: tick {tick} is applied, and on the provider that number {what}: it has lost its newest \
         changes, as in a failover or a restore, and the tables have more than it. To take over what it has: \
         \"londiste INI --reset\", \"londiste INI subscriber resync --all\", and start replay again"
    )]
    LostTicks {
        /// The position stored on the subscriber.
        tick: TickId,
        /// What the provider has instead.
        what: &'static str,
    },
    /// Another consumer of the queue has its position in the same subscriber.
    #[error(
        "subscriber_db holds the position of consumer {other}, too, which is registered on queue {queue} and \
         applies it to the same tables: consumer {consumer} would begin at the newest tick, and changes before \
         it would be missing, or come twice. If the job was renamed, set pgq_consumer_id = {other}. If \
         subscriber_db is a copy of the database of {other}, run \"londiste INI subscriber resync --all\" first"
    )]
    AnotherJob {
        /// The consumer of this job.
        consumer: ConsumerName,
        /// The other one.
        other: ConsumerName,
        /// The queue.
        queue: QueueName,
    },
    /// The subscriber has the position of a consumer that is not registered any more, and another one is to begin.
    #[error(
        "subscriber_db holds the position of consumer {other}, tick {tick} of queue {queue}, where that is not \
         registered any more: the tables have what came up to there, and consumer {consumer} would begin at \
         another tick, so that changes between would be missing, or come twice. {}",
        former_advice(other, *kept)
    )]
    FormerJob {
        /// The consumer of this job.
        consumer: ConsumerName,
        /// The other one.
        other: ConsumerName,
        /// The queue.
        queue: QueueName,
        /// Up to where the other one has applied.
        tick: TickId,
        /// The queue has that tick, and with it what came later.
        kept: bool,
    },
    /// The consumer was registered just now, and is gone.
    #[error("consumer {consumer} was removed from queue {queue} as soon as it was registered")]
    NotThere {
        /// The consumer.
        consumer: ConsumerName,
        /// The queue.
        queue: QueueName,
    },
    /// `merge_state` holds something that no version has written.
    #[error("Bad table state: {table} is in state '{state}'")]
    TableState {
        /// The table.
        table: String,
        /// The state.
        state: String,
    },
    /// The stored snapshot of a copy does not parse.
    #[error("cannot read the snapshot of the copy of {table}")]
    Snapshot {
        /// The table.
        table: String,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The snapshot of a tick does not parse.
    #[error("cannot read the snapshot of tick {tick}")]
    TickSnapshot {
        /// The tick.
        tick: TickId,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// A table that events or a copy go to does not exist.
    #[error(
        "table {0} does not exist on the subscriber; create it and run \"subscriber resync {0}\", \
         or run \"subscriber remove {0}\""
    )]
    NoTable(String),
    /// The subscriber's table lacks a column.
    #[error("Column {column} does not exist on dest side: {table}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The rows of a table cannot be copied.
    #[error(transparent)]
    Copy(Box<CopyError>),
    /// Events cannot be applied; the first one failed if it is also the last.
    #[error("{}", apply_error(*first, *last, table, source))]
    Apply {
        /// First event of the statements sent together.
        first: EventId,
        /// Last event of them.
        last: EventId,
        /// Table of the last event.
        table: String,
        /// What the server says.
        source: Box<DbError>,
    },
    /// A server's table of locks is full.
    #[error(
        "the server of {database} has no room for more locks: until a transaction ends, each table that it \
         changes or copies stays locked, with its indexes. Set max_locks_per_transaction there to twice what it \
         is, or more, and restart that server"
    )]
    OutOfLocks {
        /// Configuration key of the database.
        database: String,
        /// What failed.
        source: Box<Error>,
    },
    /// A table that the provider has emptied cannot be emptied alone.
    #[error(
        "cannot apply event {event}, a TRUNCATE: table {by} refers to {table} and holds rows, and no \
         event says that the provider emptied it; empty it, or drop its foreign key, or set \
         truncate_cascade = 1 to have such tables emptied"
    )]
    TruncateReferred {
        /// The event.
        event: EventId,
        /// The table that has to be emptied, or one that refers to it.
        table: String,
        /// The table in the way.
        by: String,
    },
    /// A row event is malformed.
    #[error("cannot read event {event}")]
    RowEvent {
        /// The event.
        event: EventId,
        /// What is wrong with it.
        source: pgq::row::Error,
    },
    /// What the catalogue of the subscriber says cannot be read.
    #[error("cannot read the definitions of the tables of events")]
    Catalogue(#[source] serde_json::Error),
    /// The server sent something else than events.
    #[error("cannot read the events of the batch")]
    Events(#[source] std::io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// `apply_check = error`, and a change did not find its row.
    #[error(
        "event {event} changed {rows} rows instead of one; run \"compare\" and \"repair\", or set \
         apply_check = warn"
    )]
    RowCount {
        /// The event.
        event: EventId,
        /// Rows that it changed.
        rows: u64,
    },
    /// Several rows have the key of an event, and nothing says which of them it is about.
    #[error(
        "cannot apply event {event}: {rows} rows of {table} have its key, which is deferrable, and \
         nothing says which of them it is about; \"subscriber resync {table}\" goes on with a new copy. \
         Against the next time, run \"provider refresh {table}\", which has changes carry the old row, or \
         take a key that is not deferrable"
    )]
    SeveralRows {
        /// The event.
        event: EventId,
        /// The table.
        table: String,
        /// Rows that have its key.
        rows: u64,
    },
    /// An event came from the retry queue: applying it now would break the order.
    #[error("event {event} was put into the retry queue; replay cannot apply it out of order")]
    Retried {
        /// The event.
        event: EventId,
    },
    /// Events were read as they stand in the table, and one came too late.
    #[error("the events of the batch are too far out of order; it has to be read sorted")]
    OutOfOrder,
    /// An event of a type that only this family of programs writes, and this one does not know.
    #[error("event {event} has the type {kind}, which this version does not understand")]
    ReservedEvent {
        /// Its type.
        kind: String,
        /// The event.
        event: EventId,
    },
    /// The queue cannot be read or changed.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    /// A statement failed, or a connection.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<CopyError> for Error {
    fn from(error: CopyError) -> Error {
        Error::Copy(Box::new(error))
    }
}

impl Error {
    /// Whether the server ended a statement that took too long.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Error::Db(error) => error.sql_state() == Some(&SqlState::QUERY_CANCELED),
            _ => false,
        }
    }

    /// Whether the server lacked memory, room for locks among it.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        sql_state_of(self) == Some(&SqlState::OUT_OF_MEMORY)
    }

    /// Says what to do if a server has no room for more locks.
    pub(crate) fn or_out_of_locks(self) -> Error {
        match out_of_locks_on(&self).map(str::to_owned) {
            Some(database) => Error::OutOfLocks {
                database,
                source: Box::new(self),
            },
            None => self,
        }
    }

    /// Whether a connection broke, so that the command cannot go on with its next part.
    pub(crate) fn is_connection_lost(&self) -> bool {
        match self {
            Error::Db(error) | Error::Queue(pgq::Error::Db(error)) => error.is_connection_lost(),
            _ => false,
        }
    }

    /// The first event of a unit of statements that failed, if going through the batch once more
    /// can help: sent one by one, statements tell which of them it was; and with constraints
    /// deferred they may hold at the end, as they did on the provider.
    pub(crate) fn worth_explaining(&self) -> Option<EventId> {
        match self {
            Error::Apply {
                first,
                last,
                source,
                ..
            } if !source.is_connection_lost()
                && out_of_locks_on(source.as_ref()).is_none()
                && (first != last || source.sql_state().is_some_and(is_constraint)) =>
            {
                Some(*first)
            }
            // One by one, what the event says of its old row is looked at.
            Error::SeveralRows { event, .. } => Some(*event),
            _ => None,
        }
    }
}

/// Whether a constraint does not hold that may be one to be checked later.
fn is_constraint(code: &SqlState) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
        SqlState::EXCLUSION_VIOLATION,
    ]
    .contains(code)
}

fn former_advice(other: &ConsumerName, kept: bool) -> String {
    let go_on = match kept {
        true => format!(
            "If the job was renamed, set pgq_consumer_id = {other}, and replay goes on at that tick. Otherwise"
        ),
        false => "That tick is gone from the queue, and what came after it may be, too:".to_owned(),
    };
    format!(
        "{go_on} run \"londiste INI subscriber resync --all\", and start replay again. If the tables are the \
         provider's, known from elsewhere, forget that position: \"londiste INI --reset --set \
         pgq_consumer_id={other}\""
    )
}

fn apply_error(first: EventId, last: EventId, table: &str, source: &DbError) -> String {
    let code = source.sql_state().map_or("no SQLSTATE", |code| code.code());
    if first == last {
        format!("cannot apply event {first} to table {table} ({code})")
    } else {
        format!("cannot apply one of the events {first} to {last} ({code})")
    }
}
