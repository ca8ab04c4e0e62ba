use std::time::Duration;

use clap::Parser;
use skytools::app::{CommonArgs, Program, Service};

use crate::commands::Command;

/// Start, stop, reload and show all jobs of a host
///
/// The configuration says where the jobs' own configurations are, and which program runs them. See
/// `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(
    name = "scriptmgr",
    infer_long_args = true,
    subcommand_required = false
)]
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
    /// All jobs; names on the command line count instead
    #[arg(short, long, global = true)]
    pub(crate) all: bool,
    /// All jobs of one service, if neither names nor -a are given
    #[arg(short = 't', long = "type", global = true, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// With `stop` and `restart`: wait for the end of the jobs as long as it takes
    #[arg(short, long, global = true)]
    wait: bool,
    /// With `stop` and `restart`: wait so many seconds, whatever `stop_timeout` says; 0: not at all
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// With `stop` and `restart`: end jobs that outlast the time with SIGTERM, and then SIGKILL
    #[arg(long, global = true)]
    pub(crate) force: bool,
    /// With `status` and `info`: one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Options {
    /// How long to wait for the end of jobs; `None`: as long as it takes.
    pub(crate) fn patience(&self, configured: Duration) -> Option<Duration> {
        match self.timeout {
            Some(timeout) => Some(timeout),
            None if self.wait => None,
            None => Some(configured),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a number of seconds, 0 or more".to_owned())
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "scriptmgr",
        sections: &["scriptmgr"],
        sample: include_str!("../../../examples/scriptmgr.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
