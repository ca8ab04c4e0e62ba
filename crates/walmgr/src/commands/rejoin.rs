use super::Work;
use crate::{Error, rejoin};

pub(super) type Args = rejoin::Wanted;

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.slave("rejoin")?;
    rejoin::run(config, work.options, args, &work.context.stop)
}
