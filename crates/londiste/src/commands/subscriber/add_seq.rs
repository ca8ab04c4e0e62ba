use postgres::types::Type;
use skytools::db::During;
use skytools::table::{self, TableName};
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, fakeable_step, literal, part_failed};
use super::create;
use crate::{Error, registry};

/// Subscribe to sequences
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Sequences: `name` or `schema.name`
    #[arg(value_name = "SEQUENCE")]
    seqs: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.seqs)?;
    let (config, queue, options) = (setup.config, setup.queue, setup.options);
    let published = registry::provider_seqs(setup.provider()?, queue)?;
    let seqs = if args.seqs.is_empty() {
        published.clone()
    } else {
        literal(&args.seqs)?
    };

    let wanted = options.create || options.create_full;
    for name in seqs
        .iter()
        .filter(|name| wanted && published.contains(name))
    {
        if !table::exists_sequence(&mut **setup.subscriber()?, &TableName::parse(name))? {
            create::sequence(setup, name)?;
        }
    }
    let db = setup.subscriber()?;
    let subscribed = registry::subscriber_seqs(db, queue)?;
    let mut outcome = Outcome::Done;
    for name in &seqs {
        if !published.contains(name) {
            warn!("Seq {name} does not exist on provider side");
            outcome = Outcome::Failed;
        } else if !table::exists_sequence(&mut **db, &TableName::parse(name))? {
            warn!("Seq {name} does not exist on subscriber side");
            outcome = Outcome::Failed;
        } else if subscribed.contains(name) {
            info!("Seq {name} already subscribed");
        } else {
            info!("Adding sequence: {name}");
            let added = fakeable_step(config, db, |tx| {
                tx.query_typed_one(
                    "select londiste.subscriber_add_seq($1, $2)",
                    &[(queue, Type::TEXT), (name, Type::TEXT)],
                )
                .during("add the sequence")?;
                Ok(())
            });
            if let Err(failure) = added {
                outcome = outcome.max(part_failed(name, failure)?);
            }
        }
    }
    Ok(outcome)
}
