use super::{Node, Work};
use crate::{Error, backup};

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    match &work.node {
        Node::Master(config) => backup::run(config, work.options, &work.context.stop),
        Node::Slave(config) => backup::standby::run(config, work.options, &work.context.stop),
    }
}
