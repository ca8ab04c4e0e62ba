use std::collections::HashSet;
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use skytools::table::TableName;
use tracing::info;

use super::super::Outcome;
use super::super::setup::Setup;
use crate::{Error, registry};

/// How often states are looked at.
const POLL: Duration = Duration::from_millis(500);

/// Wait until tables are replicated
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Subscribed tables: `name` or `schema.name`; default: all
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Give up after this time, in seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args, stop: &Stop) -> Result<Outcome, Error> {
    let queue = setup.queue;
    let poll = POLL.min(setup.config.sync_poll);
    let started = Instant::now();
    let limit = args.timeout.map(|seconds| seconds.max(0.0));
    let mut chosen = HashSet::new();
    for name in &args.tables {
        chosen.insert(TableName::parse_argument(name)?.to_string());
    }
    let mut finished: HashSet<String> = HashSet::new();
    let mut first = true;
    loop {
        let mut tables = registry::subscriber_tables(setup.subscriber()?, queue)?;
        if !chosen.is_empty() {
            tables.retain(|table| chosen.contains(&table.name));
            let known = |name: &&String| tables.iter().all(|table| table.name != **name);
            if let Some(unknown) = chosen.iter().find(known) {
                return Err(Error::NotSubscribed(unknown.clone()));
            }
        }
        let (ok, waiting): (Vec<_>, Vec<_>) = tables.iter().partition(|table| table.is_ok());
        finished.retain(|name| ok.iter().any(|table| table.name == *name));
        for table in &ok {
            if finished.insert(table.name.clone()) && !first {
                info!(
                    "{}: finished ({}/{})",
                    table.name,
                    finished.len(),
                    tables.len()
                );
            }
        }
        first = false;
        if waiting.is_empty() {
            return Ok(Outcome::Done);
        }
        if limit.is_some_and(|limit| started.elapsed().as_secs_f64() >= limit) {
            let tables = waiting.iter().map(|table| table.name.clone());
            return Err(Error::NotSynced(tables.collect::<Vec<_>>().join(", ")));
        }
        if stop.sleep(poll) {
            return Err(Error::Interrupted);
        }
    }
}
