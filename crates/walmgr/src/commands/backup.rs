use super::{Node, Work};
use crate::{Error, backup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// On the slave: stop a standby that takes no connections, copy it, and start it again
    #[arg(long)]
    stop_standby: bool,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    match &work.node {
        Node::Master(config) => backup::run(config, work.options, &work.context.stop),
        Node::Slave(config) => {
            let stop = &work.context.stop;
            backup::standby::run(config, args.stop_standby, work.options, stop)
        }
    }
}
