//! Do the tables of both sides fit?

use tracing::info;

use super::super::setup::Setup;
use super::super::structure::{self, Finding};
use crate::{Error, registry};

/// Compares the tables of both sides, and logs what it finds; false if one of them cannot be replicated.
pub(super) fn match_all(setup: &mut Setup<'_>, names: &[String]) -> Result<bool, Error> {
    let found = compare_all(setup, names)?;
    Ok(found.iter().all(|(_, finding)| finding.is_warning()))
}

/// Compares the tables of both sides, and logs what it finds: findings with the names of their tables.
pub(super) fn compare_all(
    setup: &mut Setup<'_>,
    names: &[String],
) -> Result<Vec<(String, Finding)>, Error> {
    let queue = setup.queue;
    let keys = registry::provider_keys(setup.provider()?, queue)?;
    let mut provider = Vec::new();
    for name in names {
        provider.push(structure::read(setup.provider()?, name)?);
    }
    let mut found = Vec::new();
    for (name, provider) in names.iter().zip(provider) {
        let subscriber = structure::read(setup.subscriber()?, name)?;
        let key = keys.get(name).cloned().unwrap_or_default();
        info!("Checking {name}");
        for finding in structure::compare(name, &key, provider.as_ref(), subscriber.as_ref()) {
            finding.log();
            found.push((name.clone(), finding));
        }
    }
    Ok(found)
}
