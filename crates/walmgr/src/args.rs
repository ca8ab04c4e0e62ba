use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::Command;
use crate::config::SECTIONS;

/// Archive WAL, take base backups, and run a warm standby
///
/// The configuration says which side it is for. See `--ini` for samples of both.
#[derive(Debug, Parser)]
#[command(name = "walmgr", infer_long_args = true, subcommand_required = false)]
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
    /// Show what would be done, and do nothing
    #[arg(short = 'n', long = "not-really", global = true)]
    pub(crate) not_really: bool,
    /// Do it although it was refused, where the refusal says that this helps
    #[arg(long, global = true)]
    pub(crate) force: bool,
    /// With commands that report: one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "walmgr",
        sections: SECTIONS,
        sample: include_str!("../../../examples/walmgr.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
