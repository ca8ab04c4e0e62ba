use super::{Node, Work};
use crate::restore::PointInTime;
use crate::{Error, restore};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set to restore: name, number or id; it is copied, and stays. Without it the newest is put into service
    #[arg(value_name = "SET")]
    wanted: Option<String>,
    #[command(flatten)]
    point: PointInTime,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    match &work.node {
        Node::Slave(config) => restore::run(
            config,
            work.options,
            args.wanted.as_deref(),
            &args.point,
            &work.context.stop,
        ),
        Node::Master(_) => Err(Error::Refused(
            "restore on the master is not there yet: run it on the slave".to_owned(),
        )),
    }
}
