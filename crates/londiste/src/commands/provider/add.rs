use std::collections::HashSet;

use postgres::types::Type;
use skytools::db::{DbError, During, Session, Tx};
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, part_failed, provider_step, select, warn_unknown};
use crate::args::{Capture, Options};
use crate::grants::{self, Work};
use crate::schema::Side;
use crate::{Error, names, registry};

/// Capture the changes of tables
///
/// Each table gets triggers that write its changes into the queue. A table needs a primary key, or
/// another unique index named with --key-index, or --insert-only.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.tables)?;
    let (config, queue, options) = (setup.config, setup.queue, setup.options);
    let db = setup.provider()?;
    if pgq::admin::queue_info(&mut **db, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }

    let registered: HashSet<String> = registry::provider_tables(db, queue)?.into_iter().collect();
    let selection = select(&names::relations(db, "rp")?, &args.tables)?;
    let mut outcome = warn_unknown(&selection.unknown, |name| names::why_not(db, name))?;
    for name in &selection.names {
        if registered.contains(name) {
            info!("Table {name} already added");
            continue;
        }
        info!("Adding {name}");
        let added = provider_step(config, db, |tx| add(tx, queue.as_str(), name, options));
        if let Err(failure) = added {
            let tables = std::slice::from_ref(name);
            let failure = grants::explain_on(failure, db, Side::Provider, Work::Publish, tables);
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    for (name, trigger) in earlier_triggers(db, queue.as_str())? {
        warn!(
            "Table {name} has AFTER trigger '{trigger}' which runs before Londiste trigger.  \
             If it modifies data, then events will appear in queue in wrong order."
        );
    }
    Ok(outcome)
}

fn add(tx: &mut Tx<'_>, queue: &str, name: &str, options: &Options) -> Result<(), Error> {
    tx.query_typed_one(
        "select londiste.provider_add_table($1, $2, $3, $4, $5, $6)",
        &[
            (&queue, Type::TEXT),
            (&name, Type::TEXT),
            (&options.capture.unwrap_or_default().level(), Type::TEXT),
            (&options.truncate, Type::BOOL),
            (&options.key_index, Type::TEXT),
            (&options.insert_only, Type::BOOL),
        ],
    )
    .during("add the table")?;
    // Generated captures write as the owner of PgQ, generic ones as whoever changes the table.
    if options.capture != Some(Capture::Generic) || options.force {
        return Ok(());
    }
    let roles = shut_out(tx, name)?;
    if roles.is_empty() {
        return Ok(());
    }
    Err(Error::ShutOut {
        table: name.to_owned(),
        roles: roles.join(", "),
    })
}

/// Roles that may change the table and not write into queues: a generic trigger would make their
/// changes fail. Quoted, as GRANT takes them.
fn shut_out(db: &mut Session<'_>, name: &str) -> Result<Vec<String>, DbError> {
    let rows = db
        .query_typed(
            "select distinct case a.grantee when 0 then 'public'
                                  else pg_catalog.quote_ident(r.rolname) end
               from (select londiste.find_table_oid($1) as oid) t
               join pg_catalog.pg_class c on c.oid = t.oid
              cross join lateral pg_catalog.aclexplode(coalesce(
                        c.relacl, pg_catalog.acldefault('r', c.relowner))) a
               left join pg_catalog.pg_roles r on r.oid = a.grantee
              where a.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
                and not pg_catalog.has_function_privilege(
                        case a.grantee when 0 then 'public' else r.rolname end,
                        'pgq.insert_event(text, text, text, text, text, text, text)', 'execute')
              order by 1",
            &[(&name, Type::TEXT)],
        )
        .during("look at the table's privileges")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Row-level AFTER triggers of registered tables that fire before the one of the queue, because their names sort
/// first: table and trigger.
fn earlier_triggers(db: &mut Session<'_>, queue: &str) -> Result<Vec<(String, String)>, DbError> {
    // tgtype: 1 is FOR EACH ROW, 2 BEFORE, 64 INSTEAD OF. Triggers fire in the byte order of names.
    let rows = db
        .query_typed(
            "select t.table_name, g.tgname
               from londiste.provider_get_table_list($1)
                    with ordinality t (table_name, trigger_name, place)
              cross join lateral londiste.split_fqname(t.table_name) f
               join pg_catalog.pg_namespace n on n.nspname = f.o_schema
               join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = f.o_name
               join pg_catalog.pg_trigger g on g.tgrelid = c.oid
              where not g.tgisinternal
                and g.tgtype & 1 = 1 and g.tgtype & (2 | 64) = 0
                and g.tgname::text collate \"C\" < t.trigger_name collate \"C\"
                and g.tgname !~ '^_londiste_|_logger$'
              order by t.place, g.tgname",
            &[(&queue, Type::TEXT)],
        )
        .during("look at the tables' triggers")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
