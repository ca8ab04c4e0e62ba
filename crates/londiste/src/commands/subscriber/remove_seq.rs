use postgres::types::Type;
use skytools::db::During;
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, fakeable_step, literal, part_failed};
use crate::{Error, registry};

/// End the subscription of sequences
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Subscribed sequences: `name` or `schema.name`
    #[arg(value_name = "SEQUENCE")]
    seqs: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.seqs)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.subscriber()?;
    let subscribed = registry::subscriber_seqs(db, queue)?;
    let seqs = if args.seqs.is_empty() {
        subscribed.clone()
    } else {
        literal(&args.seqs)?
    };
    let mut outcome = Outcome::Done;
    for name in &seqs {
        if !subscribed.contains(name) {
            warn!("Seq {name} not subscribed");
            outcome = Outcome::Failed;
            continue;
        }
        info!("Removing sequence: {name}");
        let removed = fakeable_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.subscriber_remove_seq($1, $2)",
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
