use std::path::PathBuf;

use super::{Node, Work};
use crate::config::SlaveConfig;
use crate::restore::{PointInTime, tablespaces};
use crate::{Error, restore};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set to restore: name, number or id; it is copied, and stays. Without it the newest is put into service
    #[arg(value_name = "SET")]
    wanted: Option<String>,
    #[command(flatten)]
    point: PointInTime,
    /// Where a tablespace goes, beside what `tablespace_map` says; once for each
    #[arg(long = "tablespace", value_name = "OID=DIR", value_parser = tablespaces::parse)]
    spaces: Vec<(u32, PathBuf)>,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    match &work.node {
        Node::Slave(config) => {
            let mut config = SlaveConfig::clone(config);
            config.tablespace_map = config.tablespace_map.with(&args.spaces);
            let set = args.wanted.as_deref();
            restore::run(&config, work.options, set, &args.point, &work.context.stop)
        }
        Node::Master(_) => Err(Error::Refused(
            "restore on the master is not there yet: run it on the slave".to_owned(),
        )),
    }
}
