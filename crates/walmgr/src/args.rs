use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::{Command, ServerCommand};
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

/// The command line of what a server runs for each segment: to put those of all commands together takes longer than
/// all else up to the first byte. What it does not know is for [`Args`].
#[derive(Debug, Parser)]
#[command(name = "walmgr", args_override_self = true)]
struct ServerArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: ServerCommand,
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

    fn parse_quickly(args: &[OsString]) -> Option<Args> {
        let is_server_command = |word: &OsString| {
            ["xarchive", "xrestore", "xcleanup"]
                .iter()
                .any(|name| word == name)
        };
        if !args.iter().any(is_server_command) {
            return None;
        }
        let ServerArgs {
            common,
            options,
            command,
        } = ServerArgs::try_parse_from(args).ok()?;
        Some(Args {
            common,
            options,
            first: FirstSteps::default(),
            command: Some(command.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;
    use skytools::app::Program;

    use super::Args;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_server_is_understood_as_everybody_is() {
        let segment = "0000000100000000000000A0";
        for line in [
            format!("walmgr m.ini xarchive pg_wal/{segment} {segment}"),
            format!("walmgr -q m.ini xarchive -n pg_wal/{segment} {segment} -v"),
            format!("walmgr s.ini --set a=b xrestore {segment} x --set c=d"),
            format!("walmgr s.ini xrestore 00000002.history x {segment}"),
            format!("walmgr s.ini xcleanup {segment} --json"),
        ] {
            let quickly = Args::parse_quickly(&words(&line)).expect(&line);
            let slowly = Args::try_parse_from(words(&line)).expect(&line);
            assert_eq!(format!("{quickly:?}"), format!("{slowly:?}"));
        }
    }

    #[test]
    fn what_is_not_for_a_server_or_wrong_is_left_alone() {
        for line in [
            "walmgr m.ini setup",
            "walmgr xarchive setup",
            "walmgr m.ini xarchive",
            "walmgr m.ini xarchive x y",
            "walmgr m.ini --no-such xarchive pg_wal/a 00000002.history",
            "walmgr m.ini xarchive --help",
            "walmgr",
        ] {
            assert!(Args::parse_quickly(&words(line)).is_none(), "{line}");
        }
    }
}
