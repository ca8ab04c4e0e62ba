use postgres::types::Type;
use skytools::db::During;
use tracing::info;

use super::super::Outcome;
use super::super::setup::{Setup, part_failed, provider_step, select, warn_unknown};
use crate::names::Relation;
use crate::{Error, registry};

/// Bring the capture of tables up to date
///
/// To be used after columns or the key have changed, and to exchange triggers of older versions.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Registered tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.tables)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let registered: Vec<Relation> = registry::provider_tables(db, queue)?
        .into_iter()
        .map(Relation::registered)
        .collect();
    let selection = select(&registered, &args.tables)?;
    let mut outcome = warn_unknown(&selection.unknown, |name| {
        Ok(format!("Table {name} is not registered"))
    })?;
    for name in &selection.names {
        info!("Refreshing {name}");
        let refreshed = provider_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.provider_refresh_trigger($1, $2)",
                &[(queue, Type::TEXT), (name, Type::TEXT)],
            )
            .during("refresh the capture")?;
            Ok(())
        });
        if let Err(failure) = refreshed {
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}
