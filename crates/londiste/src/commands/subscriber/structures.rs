//! Do the tables of both sides fit?

use tracing::info;

use super::super::setup::Setup;
use super::super::structure;
use crate::{Error, registry};

/// Compares the tables of both sides, and logs what it finds; false if one of them cannot be replicated.
pub(super) fn match_all(setup: &mut Setup<'_>, names: &[String]) -> Result<bool, Error> {
    let queue = setup.queue;
    let keys = registry::provider_keys(setup.provider()?, queue)?;
    let mut provider = Vec::new();
    for name in names {
        provider.push(structure::read(setup.provider()?, name)?);
    }
    let mut good = true;
    for (name, provider) in names.iter().zip(provider) {
        let subscriber = structure::read(setup.subscriber()?, name)?;
        let key = keys.get(name).cloned().unwrap_or_default();
        info!("Checking {name}");
        for finding in structure::compare(name, &key, provider.as_ref(), subscriber.as_ref()) {
            good &= finding.log();
        }
    }
    Ok(good)
}
