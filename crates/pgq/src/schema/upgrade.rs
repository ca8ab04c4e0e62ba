//! Bringing an older schema up to date, also out of another project's extension.

use postgres::types::Type;
use skytools::db::{DbError, During, Tx};
use tracing::{info, warn};

use super::{Installed, SCRIPTS};
use crate::Error;

/// Schemas that are upgraded where they are there, with the scripts of each.
const PARTS: [&str; 3] = ["pgq", "pgq_ext", "pgq_coop"];

/// Those of them that version 2 let everybody use.
const OPEN_ONCE: [&str; 2] = ["pgq", "pgq_ext"];

/// Who may use PgQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grants {
    /// Everybody, as with SkyTools 2.
    Old,
    /// Members of `pgq_reader`, `pgq_writer` and `pgq_admin`.
    New,
}

/// How to upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Take schemas out of the extension that they belong to. Its objects stay as they are, with all that
    /// they hold, and become ordinary ones; the empty extension is dropped.
    pub adopt: bool,
    /// Who may use PgQ from now on; `None`: who may so far.
    pub grants: Option<Grants>,
}

/// Brings `pgq`, `pgq_ext` and `pgq_coop`, as far as they are there, to the version of these scripts, in the caller's
/// transaction, and logs what it does. Queues, consumers and open batches stay, and clients may go on
/// meanwhile: what changes a table waits for a moment in which nobody uses it.
///
/// # Errors
/// [`Error::NoSchema`]: none is there. [`Error::NewerSchema`]: there is no way back.
/// [`Error::InExtension`]: a schema belongs to an extension and `adopt` was not asked for. Else a statement
/// failed: the tables are in use without a pause, or the role does not own the schema.
pub fn upgrade(tx: &mut Tx<'_>, how: &Upgrade) -> Result<(), Error> {
    skytools::install::lock(tx)?;
    let mut parts = Vec::new();
    for schema in PARTS {
        let installed = Installed::look(&mut **tx, schema)?;
        let bundled = SCRIPTS.version(schema);
        if installed.is_newer_than(&bundled) {
            return Err(Error::NewerSchema {
                schema: schema.to_owned(),
                found: installed.version_text().to_owned(),
                bundled,
            });
        }
        if let (Some(extension), false) = (&installed.extension, how.adopt) {
            return Err(Error::InExtension {
                schema: schema.to_owned(),
                extension: extension.clone(),
                ours: installed.ours,
            });
        }
        if installed.present {
            parts.push((schema, installed, bundled));
        }
    }
    if parts.is_empty() {
        return Err(Error::NoSchema);
    }
    if parts
        .iter()
        .any(|(_, installed, _)| installed.extension.is_some())
    {
        for (schema, installed, _) in &parts {
            if let Some(extension) = &installed.extension {
                info!("Taking {schema} out of the extension {extension}");
            }
        }
        SCRIPTS.run(&mut **tx, "pgq/adopt.sql")?;
    }
    for (schema, installed, bundled) in &parts {
        if installed.is_older_than(bundled) {
            let found = installed.version_text();
            info!("Upgrading {schema} from {found} to {bundled}");
            SCRIPTS.run(&mut **tx, &format!("{schema}/install.sql"))?;
        } else {
            info!("{schema} is up to date");
        }
        if let Some(grants) = how.grants
            && OPEN_ONCE.contains(schema)
        {
            let (script, says) = match grants {
                Grants::Old => ("oldgrants", "everybody may use it"),
                Grants::New => ("newgrants", "its roles decide who may use it"),
            };
            info!("Granting {schema}: {says}");
            SCRIPTS.run(&mut **tx, &format!("{schema}/{script}.sql"))?;
        }
    }
    if parts[0].0 == "pgq" {
        say_who_is_locked_out(tx)?;
    }
    Ok(())
}

/// Warns of roles that may write to a table with a trigger of PgQ, and would fail at that trigger.
fn say_who_is_locked_out(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let rows = tx
        .query_typed(
            "select distinct coalesce(r.rolname, 'everybody'), c.oid::regclass::text \
             from pg_catalog.pg_trigger t \
             join pg_catalog.pg_proc p on p.oid = t.tgfoid \
             join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
             join pg_catalog.pg_class c on c.oid = t.tgrelid \
             cross join lateral pg_catalog.aclexplode( \
                coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) a \
             left join pg_catalog.pg_roles r on r.oid = a.grantee \
             where n.nspname = $1 and not t.tgisinternal and c.relnamespace <> n.oid \
             and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') \
             and not pg_catalog.has_function_privilege(coalesce(r.rolname, 'public'), p.oid, 'execute') \
             order by 2, 1",
            &[(&"pgq", Type::TEXT)],
        )
        .during("look who writes to captured tables")?;
    for row in rows {
        let (role, table): (String, String) = (row.get(0), row.get(1));
        warn!(
            "{role} may write to {table}, which feeds a queue, and will be refused; \
             to let a role do it: grant pgq_writer to it"
        );
    }
    Ok(())
}
