use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::Command;

/// Install PgQ, tick its queues, look after them and show their state
///
/// The configuration names the database. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "pgqadm", infer_long_args = true, subcommand_required = false)]
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
    /// With commands that print: one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// With `drop`: unregister the queue's consumers first; with `uninstall`: remove PgQ though it is in use
    #[arg(long, global = true)]
    pub(crate) force: bool,
    /// Database to use instead of that of `db`; one of many
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) dbname: Option<String>,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "pgqadm",
        sections: &["pgqadm", "pgqd"],
        sample: include_str!("../../../examples/pgqadm.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
