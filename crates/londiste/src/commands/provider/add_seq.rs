use postgres::types::Type;
use skytools::db::During;
use tracing::info;

use super::super::Outcome;
use super::super::setup::{Setup, literal, part_failed, provider_step};
use crate::{Error, names, registry};

/// Register sequences
///
/// Subscribers that add them get their current values, as replay reads them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Sequences: `name` or `schema.name`
    #[arg(value_name = "SEQUENCE")]
    seqs: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.seqs)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let registered = registry::provider_seqs(db, queue)?;
    let seqs = if args.seqs.is_empty() {
        names::relations(db, "S")?
            .into_iter()
            .filter(|seq| seq.by_pattern)
            .map(|seq| seq.name)
            .collect()
    } else {
        literal(&args.seqs)?
    };
    let mut outcome = Outcome::Done;
    for name in &seqs {
        if registered.contains(name) {
            info!("Seq {name} already subscribed");
            continue;
        }
        info!("Adding sequence: {name}");
        let added = provider_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.provider_add_seq($1, $2)",
                &[(queue, Type::TEXT), (name, Type::TEXT)],
            )
            .during("add the sequence")?;
            Ok(())
        });
        if let Err(failure) = added {
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}
