//! The SQL of Londiste, embedded.

use include_dir::{Dir, include_dir};
use skytools::db::Tx;
use skytools::install::{Item, Object, Scripts};

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
