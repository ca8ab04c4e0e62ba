//! The SQL of PgQ, embedded: installing, upgrading and removing `pgq`, `pgq_ext`, `pgq_coop`
//! and `txid`.

mod removal;
mod upgrade;

use include_dir::{Dir, include_dir};
use postgres::types::Type;
use skytools::db::{DbError, During, GenericClient, Tx};
use skytools::install::{Item, Object, Scripts, version_numbers};
use tracing::warn;

pub use self::removal::{Contents, contents, uninstall};
pub use self::upgrade::{Grants, Upgrade, upgrade};
use crate::Error;

static PGQ: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq");
static PGQ_GEN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq_gen");
static PGQ_EXT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq_ext");
static PGQ_COOP: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/pgq_coop");
static TXID: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/txid");

/// The scripts of PgQ: `pgq/install.sql`, `pgq_ext/install.sql`, `pgq_coop/install.sql`,
/// `txid/install.sql`, each with its `uninstall.sql` beside it.
pub static SCRIPTS: Scripts = Scripts {
    directories: &[
        ("pgq", &PGQ),
        ("pgq_gen", &PGQ_GEN),
        ("pgq_ext", &PGQ_EXT),
        ("pgq_coop", &PGQ_COOP),
        ("txid", &TXID),
    ],
};

/// Installs what is missing of `pgq`, `pgq_ext`, `pgq_coop` and `txid`, logging each piece, in the
/// caller's transaction. An existing schema is left alone; if it is older, or belongs to an extension, a
/// warning says what to do. `pgq_coop` is not added to a `pgq` from elsewhere: it would not work there.
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
    skytools::install::install(tx, &SCRIPTS, &items)?;
    if Installed::look(&mut **tx, "pgq")?.ours {
        let item = Item::new(Object::Schema("pgq_coop"), "pgq_coop/install.sql");
        skytools::install::install(tx, &SCRIPTS, &[item])?;
    }
    for schema in ["pgq", "pgq_ext", "pgq_coop"] {
        let installed = Installed::look(&mut **tx, schema)?;
        let bundled = SCRIPTS.version(schema);
        if installed.extension.is_some() && !installed.ours {
            warn!("to take {schema} over with all that it holds: pgqadm INI upgrade --adopt");
        } else if installed.is_older_than(&bundled) {
            let found = installed.version_text();
            warn!(
                "{schema} is of version {found}, older than {bundled}; to upgrade it: pgqadm INI upgrade"
            );
        }
    }
    Ok(())
}

/// What a database has under the name of a schema.
#[derive(Debug, Clone, Default)]
struct Installed {
    /// Whether the schema is there.
    present: bool,
    /// What its function `version` says; that of PgQ 3 says nothing outside its extension.
    version: Option<String>,
    /// Whether that function is from these scripts.
    ours: bool,
    /// Name and version of the extension that the schema belongs to.
    extension: Option<String>,
}

impl Installed {
    fn look(db: &mut impl GenericClient, schema: &str) -> Result<Installed, DbError> {
        let row = db
            .query_typed_opt(
                "select p.oid is not null, coalesce(position($2 in p.prosrc) > 0, false), \
                 (select concat(e.extname, ' ', e.extversion) \
                    from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid \
                   where d.classid = 'pg_catalog.pg_namespace'::regclass and d.objid = n.oid \
                     and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e') \
                 from pg_catalog.pg_namespace n \
                 left join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'version' \
                  and p.pronargs = 0 \
                 where n.nspname = $1",
                &[
                    (&schema, Type::TEXT),
                    (&format!("-- {schema}.version(0)"), Type::TEXT),
                ],
            )
            .during(format!("look for {schema}"))?;
        let Some(row) = row else {
            return Ok(Installed::default());
        };
        let version = match row.get(0) {
            true => db
                .query_typed_one(&format!("select {schema}.version()"), &[])
                .during(format!("ask {schema} for its version"))?
                .get(0),
            false => None,
        };
        Ok(Installed {
            present: true,
            version,
            ours: row.get(1),
            extension: row.get(2),
        })
    }

    fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or("unknown")
    }

    /// A version that nobody knows is older than any, and so is the same one from elsewhere.
    fn is_older_than(&self, bundled: &str) -> bool {
        self.present
            && match &self.version {
                None => true,
                Some(version) => match version_numbers(version).cmp(&version_numbers(bundled)) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => !self.ours,
                    std::cmp::Ordering::Greater => false,
                },
            }
    }

    fn is_newer_than(&self, bundled: &str) -> bool {
        self.version
            .as_ref()
            .is_some_and(|version| version_numbers(version) > version_numbers(bundled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_know_their_versions() {
        assert!(version_numbers(&SCRIPTS.version("pgq")) >= version_numbers("3.6"));
        assert!(version_numbers(&SCRIPTS.version("pgq_ext")) >= version_numbers("3.1"));
        assert!(version_numbers(&SCRIPTS.version("pgq_coop")) >= version_numbers("3.1.1"));
        assert_eq!(SCRIPTS.version("txid"), "");
    }
}
