//! Scripts that run at the same place of the stream of changes everywhere: `provider execute` runs
//! one and sends it as an event, replay runs it when it comes to that event.

mod limits;
mod script;

use pgq::QueueName;
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{DbError, During, Session, Tx};
use tracing::info;

pub(crate) use limits::Limits;
pub(crate) use script::{Script, ScriptError};

use crate::Error;

/// Tables and sequences of the queue in the database that a script is to run in.
pub(crate) struct Local<'a> {
    pub(crate) tables: &'a [String],
    pub(crate) seqs: &'a [String],
}

/// Settings that a script may change and that what follows depends on.
const SETTINGS: &[&str] = &["search_path", "role", "check_function_bodies"];

/// Records the script; false if it has been recorded before, under this name and with this content.
pub(crate) fn record(
    db: &mut Session<'_>,
    queue: &QueueName,
    script: &Script,
) -> Result<bool, DbError> {
    let row = db
        .query_typed_one(
            "select londiste.execute_start($1, $2, $3)",
            &[
                (queue, Type::TEXT),
                (&script.name, Type::TEXT),
                (&script.text, Type::TEXT),
            ],
        )
        .during(format!("record the script {}", script.name))?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Runs the script in the caller's transaction, if it is meant for this database; answers whether it
/// was. The settings of the session are as before afterwards.
pub(crate) fn run(tx: &mut Tx<'_>, script: &Script, local: &Local<'_>) -> Result<bool, Error> {
    if !script.limits.match_here(tx, &script.name, local)? {
        info!("{} is not meant for this database, skipping", script.name);
        return Ok(false);
    }
    let statements = script.statements()?;
    let before = read_settings(tx, script)?;
    quiet_captures(tx)?;
    let attempt = tx.savepoint(|tx| run_all(tx, &script.name, &statements));
    match attempt {
        // Rows that were changed before in this transaction still wait for their constraints.
        Err(error) if error.sql_state() == Some(&SqlState::OBJECT_IN_USE) => {
            tx.batch_execute("set constraints all immediate")
                .during("check the constraints before the script")?;
            run_all(tx, &script.name, &statements)?;
        }
        result => result?,
    }
    write_settings(tx, &before)?;
    Ok(true)
}

fn run_all(tx: &mut Tx<'_>, name: &str, statements: &[String]) -> Result<(), DbError> {
    for (number, statement) in statements.iter().enumerate() {
        tx.batch_execute(statement)
            .during(format!("run statement {} of {name}", number + 1))?;
    }
    Ok(())
}

/// Lets captures write nothing: whoever reads the events runs the script himself. A role that may not
/// do that goes on; what was captured is found by `londiste.execute_finish`.
fn quiet_captures(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let attempt = tx.savepoint(|tx| {
        tx.batch_execute("set local session_replication_role = local")
            .during("set the role of replication")
    });
    match attempt {
        Err(error) if error.sql_state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(()),
        result => result,
    }
}

type Setting = (String, Option<String>);

fn read_settings(tx: &mut Tx<'_>, script: &Script) -> Result<Vec<Setting>, Error> {
    let mut names: Vec<String> = vec!["session_replication_role".to_owned()];
    names.extend(SETTINGS.iter().map(|&name| name.to_owned()));
    names.extend(script.settings()?);
    let rows = tx
        .query_typed(
            "select distinct n, pg_catalog.current_setting(n, true)
               from pg_catalog.unnest($1) n",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .during("read the settings of the session")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn write_settings(tx: &mut Tx<'_>, settings: &[Setting]) -> Result<(), DbError> {
    let now = |tx: &mut Tx<'_>, name: &str| -> Result<Option<String>, DbError> {
        let row = tx
            .query_typed_one(
                "select pg_catalog.current_setting($1, true)",
                &[(&name, Type::TEXT)],
            )
            .during("read a setting of the session")?;
        Ok(row.get(0))
    };
    // The role first: another one may not be allowed the rest.
    let (role, others): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name == "role");
    for (name, value) in role.into_iter().chain(others) {
        if now(tx, name)? == *value {
            continue;
        }
        tx.query_typed_one(
            "select pg_catalog.set_config($1, coalesce($2, ''), true)",
            &[(name, Type::TEXT), (value, Type::TEXT)],
        )
        .during("set a parameter of the session back")?;
    }
    Ok(())
}
