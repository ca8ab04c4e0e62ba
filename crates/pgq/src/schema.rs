//! The SQL of PgQ, embedded: installing `pgq`, `pgq_ext` and `txid`.

use include_dir::{Dir, include_dir};
use skytools::db::Tx;
use skytools::install::{Item, Object, Scripts};

use crate::Error;

static PGQ: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq");
static PGQ_EXT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq_ext");
static TXID: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/txid");

/// The scripts of PgQ: `pgq/install.sql`, `pgq_ext/install.sql`, `txid/install.sql`, each with its
/// `uninstall.sql` beside it.
pub static SCRIPTS: Scripts = Scripts {
    directories: &[("pgq", &PGQ), ("pgq_ext", &PGQ_EXT), ("txid", &TXID)],
};

/// Installs what is missing of `pgq`, `pgq_ext` and `txid`, logging each piece, in the caller's
/// transaction. An existing schema is left alone.
///
/// # Errors
/// The role may not create schemas, or a file fails.
pub fn install(tx: &mut Tx<'_>) -> Result<(), Error> {
    let items = [
        Item::new(
            Object::Function("txid_current_snapshot", 0),
            "txid/install.sql",
        ),
        Item::new(Object::Schema("pgq"), "pgq/install.sql"),
        Item::new(Object::Schema("pgq_ext"), "pgq_ext/install.sql"),
    ];
    Ok(skytools::install::install(tx, &SCRIPTS, &items)?)
}
