use std::collections::HashSet;

use serde_json::json;

use super::super::Outcome;
use super::super::setup::{Setup, print, print_json};
use crate::{Error, registry};

pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let provider = setup.provider()?;
    let mut tables = registry::provider_tables(provider, queue)?;
    let mut seqs = registry::provider_seqs(provider, queue)?;

    let subscriber = setup.subscriber()?;
    let subscribed = registry::subscriber_tables(subscriber, queue)?;
    let subscribed: HashSet<String> = subscribed.into_iter().map(|table| table.name).collect();
    tables.retain(|name| !subscribed.contains(name));
    let subscribed: HashSet<String> =
        (registry::subscriber_seqs(subscriber, queue)?.into_iter()).collect();
    seqs.retain(|name| !subscribed.contains(name));

    if options.json {
        print_json(&json!({ "tables": tables, "sequences": seqs }))?;
    } else {
        let tables = tables.iter().map(|name| format!("Table: {name}\n"));
        let seqs = seqs.iter().map(|name| format!("Sequence: {name}\n"));
        print(&tables.chain(seqs).collect::<String>())?;
    }
    Ok(Outcome::Done)
}
