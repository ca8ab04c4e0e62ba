use std::path::{Path, PathBuf};

use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::record::Record;
use skytools::urlencode;
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, part_failed, set_local};
use crate::execute::{self, Local, Script};
use crate::{Error, registry};

/// Run scripts on the provider and, at the same place of the stream of changes, on its subscribers
///
/// Each file is one transaction. It is run once: the same text under the same name is skipped.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of SQL
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    let mut scripts = Vec::new();
    for file in &args.files {
        scripts.push(read(file)?);
    }
    let queue = setup.queue;
    let db = setup.provider()?;
    if pgq::admin::queue_info(&mut **db, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }
    if !setup.options.force {
        let copies = copies(setup)?;
        if !copies.is_empty() {
            return Err(Error::CopiesRun(copies.join(", ")));
        }
    }
    for script in &scripts {
        // What comes after a script that failed may need it.
        if let Err(failure) = one(setup, script) {
            return part_failed(&script.name, failure);
        }
    }
    Ok(Outcome::Done)
}

fn read(file: &Path) -> Result<Script, Error> {
    let bytes = std::fs::read(file).map_err(|source| Error::ReadScript {
        file: file.to_owned(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|_| Error::ScriptEncoding(file.to_owned()))?;
    let name = file.file_name().unwrap_or(file.as_os_str());
    Ok(Script::parse(&name.to_string_lossy(), text)?)
}

/// Copies that are at work: of all subscribers, as far as they are registered, and tables of this one.
fn copies(setup: &mut Setup<'_>) -> Result<Vec<String>, Error> {
    let queue = setup.queue;
    let db = setup.provider()?;
    let consumers = pgq::admin::consumer_info(&mut **db, Some(queue), None)?;
    let mut copies: Vec<String> = consumers
        .into_iter()
        .map(|info| info.consumer.to_string())
        .filter(|name| name.ends_with("_copy") || name.contains("_copy."))
        .collect();
    if !setup.has_subscriber() {
        return Ok(copies);
    }
    let tables = match setup.subscriber() {
        Ok(db) => registry::subscriber_tables(db, queue)?,
        Err(error) => {
            warn!("cannot ask the subscriber for its copies: {error}");
            return Ok(copies);
        }
    };
    let in_copy = tables
        .into_iter()
        .filter(|table| table.state.is_some() && !table.is_ok());
    copies.extend(in_copy.map(|table| table.name));
    Ok(copies)
}

fn one(setup: &mut Setup<'_>, script: &Script) -> Result<(), Error> {
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let (tables, seqs) = (
        registry::provider_tables(db, queue)?,
        registry::provider_seqs(db, queue)?,
    );
    let mut tx = db.begin()?;
    let limit = config.lock_timeout.as_millis().to_string();
    set_local(&mut tx, "lock_timeout", &limit)?;
    if !execute::record(&mut tx, queue, script)? {
        info!("{} has been run before, skipping", script.name);
        return Ok(tx.rollback()?);
    }
    info!("Executing {}", script.name);
    let local = Local {
        tables: &tables,
        seqs: &seqs,
    };
    execute::run(&mut tx, script, &local)?;
    send(&mut tx, queue, script)?;
    if config.fake {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    for table in &tables {
        if !names_a_table(db, table)? {
            warn!("{table} does not exist any more; run: londiste INI provider remove {table}");
        }
    }
    Ok(())
}

fn names_a_table(db: &mut skytools::db::Session<'_>, name: &str) -> Result<bool, Error> {
    let table = skytools::table::TableName::parse(name);
    Ok(skytools::table::exists_table(db, &table)?)
}

fn send(tx: &mut Tx<'_>, queue: &pgq::QueueName, script: &Script) -> Result<(), Error> {
    let attributes = script.limits.attributes();
    let fields = attributes
        .iter()
        .map(|(key, value)| (key.as_bytes().into(), Some(value.as_bytes().into())));
    let encoded = urlencode::encode(&fields.collect::<Record<'_>>());
    let encoded = String::from_utf8_lossy(&encoded).into_owned();
    let attributes = (!attributes.is_empty()).then_some(encoded);
    tx.query_typed_one(
        "select londiste.execute_finish($1, $2, $3, $4)",
        &[
            (queue, Type::TEXT),
            (&script.name, Type::TEXT),
            (&script.text, Type::TEXT),
            (&attributes, Type::TEXT),
        ],
    )
    .during(format!("send the script {}", script.name))?;
    Ok(())
}
