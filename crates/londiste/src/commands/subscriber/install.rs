use super::super::Outcome;
use super::super::setup::Setup;
use crate::Error;
use crate::schema::{self, Side};

/// Installs what is missing, in one transaction.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let config = setup.config;
    let mut tx = setup.bare_subscriber()?.begin()?;
    schema::install(&mut tx, Side::Subscriber)?;
    if config.fake {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    Ok(Outcome::Done)
}
