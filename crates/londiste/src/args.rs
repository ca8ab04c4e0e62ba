mod elsewhere;

use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::Command;

/// Replicate tables and sequences from one database to another
///
/// The configuration names the two databases and the queue. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "londiste", infer_long_args = true, subcommand_required = false)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of single commands, accepted in any position.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of single commands")]
pub(crate) struct Options {
    /// Take every table or sequence the command applies to
    #[arg(long, global = true)]
    pub(crate) all: bool,
    /// Go on in spite of differing structures, unattached tables or a lagging consumer
    #[arg(long, global = true)]
    pub(crate) force: bool,
    /// With `subscriber add`: the data is equal already, do not copy it
    #[arg(long, global = true)]
    pub(crate) expect_sync: bool,
    /// With `subscriber add`: keep the rows of the table, copy on top of them
    #[arg(long, global = true)]
    pub(crate) skip_truncate: bool,
    /// With `subscriber add` and `add-seq`: create what is missing, tables with columns and key
    #[arg(long, global = true)]
    pub(crate) create: bool,
    /// With `subscriber add`: create missing tables with indexes, defaults, triggers, grants and owner
    #[arg(long, global = true)]
    pub(crate) create_full: bool,
    /// With `provider add`: what captures changes; row unless said otherwise
    #[arg(long, global = true, value_name = "KIND")]
    pub(crate) capture: Option<Capture>,
    /// With `provider add`: capture TRUNCATE too; every subscriber has to know events of type R
    #[arg(long, global = true)]
    pub(crate) truncate: bool,
    /// With `provider add`: unique index that stands for the primary key
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        conflicts_with = "insert_only"
    )]
    pub(crate) key_index: Option<String>,
    /// With `provider add`: capture inserts, make updates and deletes errors; needs no key
    #[arg(long, global = true)]
    pub(crate) insert_only: bool,
    /// With `compare`, `repair` and lists: print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No command: move the consumer on the provider to the position stored on the subscriber
    #[arg(long, global = true, conflicts_with = "reset")]
    pub(crate) rewind: bool,
    /// No command: forget the position stored on the subscriber
    #[arg(long, global = true)]
    pub(crate) reset: bool,
}

impl Options {
    /// The options that only a command which subscribes to tables understands, with whether they are given.
    /// Elsewhere they would be believed to do something.
    pub(crate) fn of_subscribing(&self) -> [(&'static str, bool); 4] {
        [
            ("--expect-sync", self.expect_sync),
            ("--skip-truncate", self.skip_truncate),
            ("--create", self.create),
            ("--create-full", self.create_full),
        ]
    }

    /// The options that only a command which publishes tables understands, with whether they are given.
    pub(crate) fn of_publishing(&self) -> [(&'static str, bool); 4] {
        [
            ("--capture", self.capture.is_some()),
            ("--truncate", self.truncate),
            ("--key-index", self.key_index.is_some()),
            ("--insert-only", self.insert_only),
        ]
    }
}

/// What captures the changes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Capture {
    /// A trigger for rows, generated for the table
    #[default]
    Row,
    /// Triggers for statements, for tables that are changed in bulk
    Statement,
    /// One function for all tables: pgq.sqltriga
    Generic,
}

impl Capture {
    /// As `pgq.create_capture` takes it.
    pub(crate) const fn level(self) -> &'static str {
        match self {
            Capture::Row => "row",
            Capture::Statement => "statement",
            Capture::Generic => "generic",
        }
    }
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "londiste",
        sections: &["londiste", "londiste3"],
        sample: include_str!("../../../examples/londiste.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn unknown_command(name: &str) -> String {
        match elsewhere::instead_of(name) {
            Some(instead) => format!("Unknown command '{name}', {instead}"),
            None => format!("Unknown command '{name}', use --help for help"),
        }
    }
}
