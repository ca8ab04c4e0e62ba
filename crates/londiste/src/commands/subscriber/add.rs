use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{Connection, During};
use skytools::table::{self, TableName};
use tracing::{error, info, warn};

use super::super::Outcome;
use super::super::capturing_triggers;
use super::super::setup::{Selection, Setup, fakeable_step, part_failed, select};
use super::create::{self, Extent};
use super::structures;
use crate::args::Options;
use crate::copy::source;
use crate::grants::{self, Work};
use crate::names::{self, Pattern, Relation};
use crate::schema::Side;
use crate::{Config, Error, node, registry};

/// Subscribe to tables
///
/// Replay empties and copies each table, then keeps it up to date. Triggers of the tables are put
/// aside first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Copy from another node than the provider, one that has the tables as a whole
    #[arg(long, value_name = "DSN")]
    copy_from: Option<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    let (config, queue, options) = (setup.config, setup.queue, setup.options);
    if options.expect_sync && options.skip_truncate {
        return Err(Error::TooManyOptions);
    }
    if options.expect_sync && args.copy_from.is_some() {
        return Err(Error::NothingToCopy);
    }
    setup.need_names(&args.tables)?;

    let (provider, subscriber) = setup.pair()?;
    node::insist_apart(provider, subscriber)?;
    let published = registry::provider_tables(setup.provider()?, queue)?;
    let numbers = registry::provider_numbers(setup.provider()?, queue)?;
    let db = setup.subscriber()?;
    let subscribed: HashSet<String> = registry::subscriber_tables(db, queue)?
        .into_iter()
        .map(|table| table.name)
        .collect();
    let (chosen, mut outcome) = choose(db, options, args, &published, &subscribed)?;
    let (fresh, known): (Vec<_>, Vec<_>) = chosen
        .into_iter()
        .partition(|name| !subscribed.contains(name));
    for name in known {
        info!("Table {name} already added");
    }
    let extent = match (options.create_full, options.create) {
        (true, _) => Some(Extent::Full),
        (false, true) => Some(Extent::Plain),
        (false, false) => None,
    };
    if let Some(extent) = extent {
        create::tables(setup, &fresh, extent)?;
    }
    if !structures::match_all(setup, &fresh)? {
        if !options.force {
            return Ok(Outcome::Failed);
        }
        warn!("--force used, ignoring errors");
    }

    if let Some(text) = &args.copy_from {
        let mut node = setup.database(source::typed(text)?);
        source::check(queue, node.connection()?, setup.provider()?, &fresh)?;
    }

    let fresh = largest_first(setup, fresh)?;
    let db = setup.subscriber()?;
    let from = args.copy_from.as_deref();
    for name in &fresh {
        if let Err(failure) = one(db, config, queue, name, numbers.get(name), options, from) {
            let tables = std::slice::from_ref(name);
            let failure =
                grants::explain_on(failure, db, Side::Subscriber, Work::Subscribe, tables);
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}

/// The tables to add, in the order of their registration on the provider.
fn choose(
    db: &mut Connection,
    options: &Options,
    args: &Args,
    published: &[String],
    subscribed: &HashSet<String>,
) -> Result<(Vec<String>, Outcome), Error> {
    let mut outcome = Outcome::Done;
    let places: HashMap<&str, usize> = (published.iter().map(String::as_str).zip(0..)).collect();
    let is_published = |name: &str| places.contains_key(name);
    let mut here = names::relations(db, "rp")?;
    if options.create || options.create_full {
        // What is missing here is found by patterns too.
        here.retain(|relation| !is_published(&relation.name));
        here.extend(published.iter().cloned().map(Relation::registered));
    }
    let Selection { names, unknown } = select(&here, &args.tables)?;
    let (chosen, unattached): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| is_published(name));
    let mut chosen: HashSet<String> = chosen.into_iter().collect();
    if args.tables.is_empty() {
        // What the provider has and the catalog here does not is worth an error: all was asked for.
        let absent = published.iter().filter(|&name| !subscribed.contains(name));
        chosen.extend(absent.cloned());
    }
    for name in &unknown {
        let fq_name = name.to_string();
        if is_published(&fq_name) {
            chosen.insert(fq_name);
        } else {
            warn!("{}", names::why_not(db, name)?);
            outcome = Outcome::Failed;
        }
    }
    let mut chosen: Vec<String> = chosen.into_iter().collect();
    chosen.sort_by_key(|name| places.get(name.as_str()));
    for name in unattached {
        if !named(&args.tables, &name)? {
            continue;
        }
        error!("Table {name} not attached to queue; run: londiste INI provider add {name}");
        if options.force {
            warn!("--force used, ignoring errors");
            chosen.push(name);
        } else {
            outcome = Outcome::Failed;
        }
    }
    Ok((chosen, outcome))
}

/// Puts the largest tables first when several are copied at once: replay begins as soon as the first is added, and
/// one that begins last would be waited for alone.
fn largest_first(setup: &mut Setup<'_>, names: Vec<String>) -> Result<Vec<String>, Error> {
    if setup.config.parallel_copies == 1 || setup.options.expect_sync || names.len() < 2 {
        return Ok(names);
    }
    let tables: Vec<TableName> = names.iter().map(|name| TableName::parse(name)).collect();
    let pages = table::expected_pages(&mut **setup.provider()?, &tables)?;
    let mut sized: Vec<(u64, String)> = pages.into_iter().zip(names).collect();
    sized.sort_by_key(|(pages, _)| Reverse(*pages));
    Ok(sized.into_iter().map(|(_, name)| name).collect())
}

/// Whether an argument names the table itself, not by a pattern.
fn named(arguments: &[String], name: &str) -> Result<bool, Error> {
    let name = Pattern::Name(TableName::parse(name));
    for argument in arguments {
        if Pattern::parse(argument)? == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds one table, in one transaction.
fn one(
    db: &mut Connection,
    config: &Config,
    queue: &QueueName,
    name: &str,
    number: Option<&i32>,
    options: &Options,
    from: Option<&str>,
) -> Result<(), Error> {
    fakeable_step(config, db, |tx| {
        if !options.expect_sync && !options.force {
            let mut capturing = capturing_triggers(tx, name)?;
            if let Some(trigger) = capturing.pop() {
                return Err(Error::Captured {
                    table: name.to_owned(),
                    trigger,
                });
            }
        }
        info!("Adding {name}");
        tx.query_typed_one(
            "select londiste.subscriber_add_table($1, $2)",
            &[(queue, Type::TEXT), (&name, Type::TEXT)],
        )
        .during("add the table")?;
        if number.is_some() {
            tx.query_typed_one(
                "select londiste.subscriber_set_provider_nr($1, $2, $3)",
                &[
                    (queue, Type::TEXT),
                    (&name, Type::TEXT),
                    (&number, Type::INT4),
                ],
            )
            .during("store the provider's number of the table")?;
        }
        source::choose(tx, queue, name, from)?;
        if options.expect_sync {
            tx.query_typed_one(
                "select londiste.subscriber_set_table_state($1, $2, null, 'ok')",
                &[(queue, Type::TEXT), (&name, Type::TEXT)],
            )
            .during("set the table's state")?;
            return Ok(());
        }
        tx.query_typed_one(
            "select londiste.subscriber_drop_all_table_triggers($1)",
            &[(&name, Type::TEXT)],
        )
        .during("put the table's triggers aside")?;
        if options.skip_truncate {
            tx.query_typed_one(
                "select londiste.subscriber_set_skip_truncate($1, $2, true)",
                &[(queue, Type::TEXT), (&name, Type::TEXT)],
            )
            .during("keep the table's rows")?;
        }
        Ok(())
    })
}
