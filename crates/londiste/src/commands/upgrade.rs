use std::process::ExitCode;

use postgres::types::Type;
use skytools::daemon::Job;
use skytools::db::{Connection, During};
use tracing::{info, warn};

use super::Outcome;
use super::setup::{Setup, part_failed, provider_step};
use crate::args::Options;
use crate::schema::{self, Side};
use crate::{Config, Error};

/// Bring the schema londiste of an older version up to date
///
/// Registrations, positions and states stay. On the provider, triggers of older versions are then
/// exchanged table by table.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which side; default: both
    #[arg(value_name = "SIDE")]
    side: Option<Side>,
}

pub(super) fn run(job: Job<Config>, options: Options, args: &Args) -> Result<ExitCode, Error> {
    let job = job.with_pidfile_suffix(".setup");
    let outcome = job.run_command(|job, _| upgrade(&mut Setup::new(job, &options), args))?;
    Ok(outcome.into())
}

fn upgrade(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    let mut outcome = Outcome::Done;
    for side in [Side::Provider, Side::Subscriber] {
        if args.side.is_some_and(|only| only != side) {
            continue;
        }
        let config = setup.config;
        let db = match side {
            Side::Provider => setup.bare_provider()?,
            Side::Subscriber => setup.bare_subscriber()?,
        };
        let mut tx = db.begin()?;
        schema::upgrade(&mut tx, side)?;
        if config.fake {
            tx.rollback()?;
            continue;
        }
        tx.commit()?;
        if side == Side::Provider {
            outcome = outcome.max(exchange_triggers(config, db)?);
        }
    }
    Ok(outcome)
}

/// Puts captures in the place of triggers that older versions made, of all queues of the database.
fn exchange_triggers(config: &Config, db: &mut Connection) -> Result<Outcome, Error> {
    let rows = db
        .query_typed(
            "select queue_name, table_name,
                    pg_catalog.to_regproc('pgq.create_capture') is not null
               from londiste.provider_table
              where trigger_name is distinct from londiste.trigger_name(queue_name, capture_level)
                and trigger_name is not null
              order by nr",
            &[],
        )
        .during("look for triggers of older versions")?;
    let mut outcome = Outcome::Done;
    for row in rows {
        let (queue, table, possible): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        if !possible {
            warn!(
                "PgQ on the provider is too old for captures, so triggers stay as they are; run \
                 \"pgqadm INI upgrade\", then \"londiste INI upgrade provider\" again"
            );
            return Ok(outcome);
        }
        info!("Exchanging the trigger of {table} for queue {queue}");
        let exchanged = provider_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.provider_refresh_trigger($1, $2)",
                &[(&queue, Type::TEXT), (&table, Type::TEXT)],
            )
            .during("exchange the trigger")?;
            Ok(())
        });
        if let Err(failure) = exchanged {
            outcome = outcome.max(part_failed(&table, failure)?);
        }
    }
    Ok(outcome)
}
