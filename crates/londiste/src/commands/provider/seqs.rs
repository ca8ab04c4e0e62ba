use super::super::Outcome;
use super::super::setup::{Setup, print_names};
use crate::{Error, registry};

pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    print_names(&registry::provider_seqs(setup.provider()?, queue)?, options)
}
