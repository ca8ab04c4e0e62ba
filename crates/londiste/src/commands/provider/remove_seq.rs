use postgres::types::Type;
use skytools::db::During;
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, literal, part_failed, provider_step};
use crate::{Error, registry};

/// Forget sequences
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Registered sequences: `name` or `schema.name`
    #[arg(value_name = "SEQUENCE")]
    seqs: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.seqs)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let registered = registry::provider_seqs(db, queue)?;
    let seqs = if args.seqs.is_empty() {
        registered.clone()
    } else {
        literal(&args.seqs)?
    };
    let mut outcome = Outcome::Done;
    for name in &seqs {
        if !registered.contains(name) {
            warn!("Seq {name} not registered");
            outcome = Outcome::Failed;
            continue;
        }
        info!("Removing sequence: {name}");
        let removed = provider_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.provider_remove_seq($1, $2)",
                &[(queue, Type::TEXT), (name, Type::TEXT)],
            )
            .during("remove the sequence")?;
            Ok(())
        });
        if let Err(failure) = removed {
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}
