use skytools::db::Connection;
use tracing::{info, warn};

use crate::Error;

/// Removes PgQ in one transaction; without `force` only if nobody would miss anything.
pub(crate) fn run(db: &mut Connection, force: bool) -> Result<(), Error> {
    let mut tx = db.begin()?;
    let contents = pgq::schema::contents(&mut *tx)?;
    for (kind, names) in [
        ("trigger", &contents.triggers),
        ("view", &contents.dependents),
        ("consumer", &contents.consumers),
        ("position of", &contents.positions),
        ("events put aside by", &contents.bad_events),
    ] {
        for name in names {
            match force {
                true => info!("Dropping {kind} {name}"),
                false => warn!("In use: {kind} {name}"),
            }
        }
    }
    if !force && !contents.is_empty() {
        return Err(Error::InUse);
    }
    info!("Uninstalling PgQ");
    pgq::schema::uninstall(&mut tx).map_err(|error| match error {
        pgq::Error::InExtension { .. } => Error::Advice {
            error,
            advice: "to remove it with its queues: drop extension ... cascade",
        },
        other => other.into(),
    })?;
    Ok(tx.commit()?)
}
