use std::path::PathBuf;

use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::Command;
use crate::config::SECTIONS;

/// Archive WAL, take base backups, and run a warm standby
///
/// The configuration says which side it is for. See `--ini` for samples of both.
#[derive(Debug, Parser)]
#[command(name = "walmgr", infer_long_args = true, subcommand_required = false)]
#[command(after_help = "When the master is gone: walmgr --help failover prints what to type")]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) first: FirstSteps,
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
    /// With cleanup, and restore on the master: do not ask
    #[arg(long, global = true)]
    pub(crate) yes: bool,
}

/// What a host is told before it has a configuration, and what takes that back.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "First steps on a host")]
pub(crate) struct FirstSteps {
    /// Write a configuration for the master on this host; needs --slave
    #[arg(long, global = true, conflicts_with = "init_slave")]
    pub(crate) init_master: bool,
    /// Write a configuration for the slave on this host
    #[arg(long, global = true)]
    pub(crate) init_slave: bool,
    /// Where --init-master and --init-slave write to: ~/conf if not given
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Host of the slave, or HOST:/base/dir
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) slave: Option<String>,
    /// Data directory; PGDATA, or where packages put it, if not given
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) pgdata: Option<PathBuf>,
    /// Make a key for ssh if there is none
    #[arg(long, global = true)]
    pub(crate) ssh_keygen: bool,
    /// Let in who has this public key
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ssh_add_key: Option<PathBuf>,
    /// With cleanup on the slave: let in nobody any more whose key has this text
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) ssh_remove_key: Option<String>,
    /// On the slave: connect string of the master for streaming
    #[arg(long, global = true, value_name = "CONNINFO")]
    pub(crate) primary_conninfo: Option<String>,
    /// On the slave: the password for streaming is the first line of this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) add_password: Option<PathBuf>,
    /// On the slave, also with cleanup: forget the password for streaming
    #[arg(long, global = true)]
    pub(crate) remove_password: bool,
    /// Run synch-standby without a configuration
    #[arg(long, global = true, value_name = "NAMES")]
    pub(crate) synch_standby: Option<String>,
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
