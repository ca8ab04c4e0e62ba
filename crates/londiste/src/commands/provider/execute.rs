use std::path::{Path, PathBuf};

use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::record::Record;
use skytools::urlencode;
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, part_failed, set_local};
use crate::execute::{self, Local, Script, ScriptError};
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
    let known = identities(&mut tx, queue)?;
    execute::run(&mut tx, script, &local)?;
    refuse_renamed(&mut tx, queue, script, &known)?;
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

/// The registered tables, with what stays when their names change.
fn identities(tx: &mut Tx<'_>, queue: &pgq::QueueName) -> Result<Vec<(String, u32)>, Error> {
    let rows = tx
        .query_typed(
            "select t.table_name, c.oid
               from londiste.provider_table t
              cross join lateral londiste.split_fqname(t.table_name) f
               join pg_catalog.pg_namespace n on n.nspname = f.o_schema
               join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = f.o_name
              where t.queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look at the registered tables")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Their changes go on under the registered name, and the subscribers' tables have the new one.
fn refuse_renamed(
    tx: &mut Tx<'_>,
    queue: &pgq::QueueName,
    script: &Script,
    known: &[(String, u32)],
) -> Result<(), Error> {
    let (names, ids): (Vec<&str>, Vec<u32>) =
        known.iter().map(|(name, id)| (name.as_str(), *id)).unzip();
    let renamed = tx
        .query_typed_opt(
            "select t.table_name, londiste.make_fqname(n.nspname, c.relname)
               from unnest($2::text[], $3::oid[]) k (name, id)
               join londiste.provider_table t on t.queue_name = $1 and t.table_name = k.name
               join pg_catalog.pg_class c on c.oid = k.id
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where londiste.make_fqname(n.nspname, c.relname) <> k.name
              order by t.nr
              limit 1",
            &[
                (queue, Type::TEXT),
                (&names, Type::TEXT_ARRAY),
                (&ids, Type::OID_ARRAY),
            ],
        )
        .during("look at the registered tables")?;
    match renamed {
        None => Ok(()),
        Some(row) => Err(ScriptError::Renames {
            name: script.name.clone(),
            table: row.get(0),
            now: row.get(1),
        }
        .into()),
    }
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
