use super::super::Outcome;
use super::super::setup::Setup;
use super::structures;
use crate::{Error, registry};

/// Compares the structures of all that the provider publishes; one that does not fit is a difference.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let queue = setup.queue;
    let published = registry::provider_tables(setup.provider()?, queue)?;
    Ok(match structures::match_all(setup, &published)? {
        true => Outcome::Done,
        false => Outcome::Differs,
    })
}
