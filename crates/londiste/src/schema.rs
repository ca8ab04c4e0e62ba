//! The SQL of Londiste, embedded; is it installed?

use include_dir::{Dir, include_dir};
use skytools::db::{Connection, Tx};
use skytools::install::{Item, Object, Scripts};
use skytools::table;

use crate::Error;

static LONDISTE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/londiste");

/// The scripts of Londiste: `londiste/install.sql`, with `uninstall.sql` beside it.
static SCRIPTS: Scripts = Scripts {
    directories: &[("londiste", &LONDISTE)],
};

/// Installs the schema `londiste` in the caller's transaction; an existing one is left alone.
///
/// # Errors
/// The role may not create schemas, or a file fails.
pub(crate) fn install(tx: &mut Tx<'_>) -> Result<(), Error> {
    let items = [Item::new(
        Object::Schema("londiste"),
        "londiste/install.sql",
    )];
    Ok(skytools::install::install(tx, &SCRIPTS, &items)?)
}

/// One of the two databases of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
/// A schema is missing; the message says which, and the command that installs it.
pub(crate) fn require(db: &mut Connection, side: Side) -> Result<(), Error> {
    for &schema in side.schemas() {
        if !table::exists_schema(&mut **db, schema)? {
            let side = side.name();
            return Err(Error::NotInstalled { schema, side });
        }
    }
    Ok(())
}
