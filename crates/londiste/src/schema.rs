//! The SQL of Londiste, embedded; is it installed?

use include_dir::{Dir, include_dir};
use postgres::types::Type;
use skytools::db::{Connection, During, Session, Tx};
use skytools::install::{Item, Object, Scripts, version_numbers};
use skytools::table;
use tracing::{info, warn};

use crate::Error;

mod stash;

static LONDISTE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/londiste");

/// The scripts of Londiste: `londiste/install.sql`, with `uninstall.sql` beside it.
static SCRIPTS: Scripts = Scripts {
    directories: &[("londiste", &LONDISTE)],
};

/// Installs the schema `londiste` in the caller's transaction; an existing one is left alone.
///
/// # Errors
/// The role may not create schemas, a file fails, or the schema is of Londiste 3.
pub(crate) fn install(tx: &mut Tx<'_>, side: Side) -> Result<(), Error> {
    let items = [Item::new(
        Object::Schema("londiste"),
        "londiste/install.sql",
    )];
    refuse_foreign(tx, side)?;
    skytools::install::install(tx, &SCRIPTS, &items)?;
    let installed = version(tx)?;
    let bundled = SCRIPTS.version("londiste");
    if version_numbers(&installed) < version_numbers(&bundled) {
        warn!(
            "londiste is of version {installed}, older than {bundled}; to upgrade it: londiste INI \
             upgrade"
        );
    }
    Ok(())
}

/// Brings the schema `londiste` up to date in the caller's transaction; what it holds stays.
///
/// # Errors
/// There is none, it is of Londiste 3 or newer than this program, or a statement failed.
pub(crate) fn upgrade(tx: &mut Tx<'_>, side: Side) -> Result<(), Error> {
    skytools::install::lock(tx)?;
    if !table::exists_schema(&mut **tx, "londiste")? {
        return Err(Error::NotInstalled {
            schema: "londiste",
            side: side.name(),
        });
    }
    refuse_foreign(tx, side)?;
    let old_stash: bool = tx
        .query_typed_one(
            "select not exists (select from pg_catalog.pg_attribute
                                 where attrelid = pg_catalog.to_regclass('londiste.subscriber_pending_triggers')
                                   and attname = 'trigger_enabled')",
            &[],
        )
        .during("look at the schema londiste")?
        .get(0);
    let installed = version(tx)?;
    let bundled = SCRIPTS.version("londiste");
    if version_numbers(&installed) > version_numbers(&bundled) {
        return Err(Error::NewerSchema {
            side: side.name(),
            installed,
            bundled,
        });
    }
    info!(
        "Upgrading londiste in {}_db from {installed} to {bundled}",
        side.name()
    );
    // What is there already is no news.
    tx.batch_execute("set local client_min_messages = warning")
        .during("silence notices")?;
    SCRIPTS.run(&mut **tx, "londiste/install.sql")?;
    if old_stash {
        stash::qualify(tx)?;
    }
    Ok(())
}

/// Refuses a schema `londiste` that is not Londiste's of version 2, or of this program.
fn refuse_foreign(db: &mut Session<'_>, side: Side) -> Result<(), Error> {
    let foreign: bool = db
        .query_typed_one(
            "select pg_catalog.to_regnamespace('londiste') is not null
                    and pg_catalog.to_regclass('londiste.provider_table') is null",
            &[],
        )
        .during("look at the schema londiste")?
        .get(0);
    match foreign {
        true => Err(Error::ForeignSchema { side: side.name() }),
        false => Ok(()),
    }
}

/// Of the functions in the database; version 2.1.8 and before do not tell.
fn version(tx: &mut Tx<'_>) -> Result<String, Error> {
    let known: bool = tx
        .query_typed_one(
            "select pg_catalog.to_regprocedure('londiste.version()') is not null",
            &[],
        )
        .during("look for the version of londiste")?
        .get(0);
    if !known {
        return Ok("2.1".to_owned());
    }
    let row = tx
        .query_typed_one("select coalesce(londiste.version(), '2.1')", &[])
        .during("read the version of londiste")?;
    Ok(row.get(0))
}

/// Gives a database of an older version what it needs to have its place in a cascade. A role that may
/// not change the schema leaves it as it is.
///
/// # Errors
/// A file fails.
pub(crate) fn migrate(db: &mut Connection) -> Result<(), Error> {
    let row = db
        .query_typed_one(
            "select to_regclass('londiste.node_info') is null
                    and to_regnamespace('londiste') is not null
                    and pg_catalog.has_schema_privilege(current_user,
                            to_regnamespace('londiste')::oid, 'create')",
            &[],
        )
        .during("look at the schema londiste")?;
    if row.get::<_, Option<bool>>(0) == Some(true) {
        let mut tx = db.begin()?;
        SCRIPTS.run(&mut *tx, "londiste/node.sql")?;
        tx.commit()?;
    }
    Ok(())
}

/// Whether a function exists that the role may call: `londiste.version()`.
pub(crate) fn may_call(db: &mut Session<'_>, function: &str) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select coalesce(pg_catalog.has_function_privilege(
                        pg_catalog.to_regprocedure($1)::oid, 'execute'), false)",
            &[(&function, Type::TEXT)],
        )
        .during("look at the privileges")?;
    Ok(row.get(0))
}

/// One of the two databases of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// Changes are copied from here.
    Provider,
    /// Changes are copied to here.
    Subscriber,
}

impl Side {
    /// As in `provider_db` and `provider install`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Side::Provider => "provider",
            Side::Subscriber => "subscriber",
        }
    }

    const fn schemas(self) -> &'static [&'static str] {
        match self {
            Side::Provider => &["pgq", "londiste"],
            Side::Subscriber => &["londiste"],
        }
    }
}

/// Makes sure that `provider install` or `subscriber install` has been run.
///
/// # Errors
/// A schema is missing, or of Londiste 3; the message says what to do.
pub(crate) fn require(db: &mut Connection, side: Side) -> Result<(), Error> {
    for &schema in side.schemas() {
        if !table::exists_schema(&mut **db, schema)? {
            let side = side.name();
            return Err(Error::NotInstalled { schema, side });
        }
    }
    refuse_foreign(db, side)
}
