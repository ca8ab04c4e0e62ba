use pgq::schema::{Grants, Upgrade};
use skytools::db::Connection;

use crate::Error;

/// Bring an older PgQ up to date
///
/// Queues, consumers and open batches stay, and clients may go on meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take PgQ out of the extension that it belongs to, with everything in it
    #[arg(long)]
    adopt: bool,
    /// Let the roles pgq_reader, pgq_writer and pgq_admin decide who may use PgQ
    #[arg(long, conflicts_with = "old_grants")]
    new_grants: bool,
    /// Let everybody use PgQ, as with SkyTools 2
    #[arg(long)]
    old_grants: bool,
}

/// Upgrades what is there, in one transaction.
pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let grants = match (args.new_grants, args.old_grants) {
        (true, _) => Some(Grants::New),
        (_, true) => Some(Grants::Old),
        _ => None,
    };
    let how = Upgrade {
        adopt: args.adopt,
        grants,
    };
    let mut tx = db.begin()?;
    pgq::schema::upgrade(&mut tx, &how).map_err(|error| match error {
        pgq::Error::InExtension { ours: true, .. } => Error::Advice {
            error,
            advice: "to upgrade it: alter extension ... update; to take it out: pgqadm INI upgrade --adopt",
        },
        pgq::Error::InExtension { .. } => Error::Advice {
            error,
            advice: "to take it over with its queues and consumers: pgqadm INI upgrade --adopt",
        },
        other => other.into(),
    })?;
    Ok(tx.commit()?)
}
