//! Removing PgQ from a database.

use skytools::db::{DbError, During, GenericClient, Tx};

use super::{Installed, SCRIPTS};
use crate::Error;

/// Schemas that go, in this order.
const PARTS: [&str; 3] = ["pgq_coop", "pgq_ext", "pgq"];

/// What would be lost with PgQ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Triggers that feed queues: `NAME on TABLE`. The tables stay.
    pub triggers: Vec<String>,
    /// Views, and what else outside of PgQ is built on its tables.
    pub dependents: Vec<String>,
    /// Consumers: `CONSUMER on QUEUE`.
    pub consumers: Vec<String>,
    /// Consumers of queues in other databases that remember here what they applied.
    pub positions: Vec<String>,
    /// Consumers with events that they could not apply and put aside here: `CONSUMER on QUEUE`.
    pub bad_events: Vec<String>,
}

impl Contents {
    /// Whether nobody would miss anything.
    pub fn is_empty(&self) -> bool {
        *self == Contents::default()
    }
}

/// Looks what depends on PgQ in this database; nothing if it is not installed.
///
/// # Errors
/// A statement failed.
pub fn contents(db: &mut impl GenericClient) -> Result<Contents, DbError> {
    let mut texts = |step: &str, sql: &str| -> Result<Vec<String>, DbError> {
        let rows = db.query_typed(sql, &[]).during(step.to_owned())?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let mut contents = Contents {
        triggers: texts(
            "look for triggers",
            "select format('%I on %s', t.tgname, t.tgrelid::regclass) \
             from pg_catalog.pg_trigger t \
             join pg_catalog.pg_proc p on p.oid = t.tgfoid \
             join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
             join pg_catalog.pg_class c on c.oid = t.tgrelid \
             where n.nspname in ('pgq', 'pgq_gen') and not t.tgisinternal \
             and c.relnamespace <> n.oid order by 1",
        )?,
        dependents: texts(
            "look for views",
            "select distinct r.ev_class::regclass::text \
             from pg_catalog.pg_depend d \
             join pg_catalog.pg_rewrite r on r.oid = d.objid \
             join pg_catalog.pg_class v on v.oid = r.ev_class \
             join pg_catalog.pg_namespace o on o.oid = v.relnamespace \
             left join pg_catalog.pg_class c on c.oid = d.refobjid \
                and d.refclassid = 'pg_catalog.pg_class'::regclass \
             left join pg_catalog.pg_proc p on p.oid = d.refobjid \
                and d.refclassid = 'pg_catalog.pg_proc'::regclass \
             join pg_catalog.pg_namespace n on n.oid in (c.relnamespace, p.pronamespace) \
             where d.classid = 'pg_catalog.pg_rewrite'::regclass \
             and n.nspname in ('pgq', 'pgq_gen', 'pgq_ext', 'pgq_coop') \
             and o.nspname not in ('pgq', 'pgq_gen', 'pgq_ext', 'pgq_coop') order by 1",
        )?,
        ..Contents::default()
    };
    let present = texts(
        "look for tables",
        "select t.name from unnest(array['pgq.subscription', 'pgq_ext.completed_tick', \
                                           'pgq_ext.bad_event']) t (name) \
         where to_regclass(t.name) is not null",
    )?;
    if present.iter().any(|table| table == "pgq.subscription") {
        contents.consumers = texts(
            "look for consumers",
            "select format('%s on %s', c.co_name, q.queue_name) from pgq.subscription s \
             join pgq.queue q on q.queue_id = s.sub_queue \
             join pgq.consumer c on c.co_id = s.sub_consumer order by 1",
        )?;
    }
    if present
        .iter()
        .any(|table| table == "pgq_ext.completed_tick")
    {
        contents.positions = texts(
            "look for positions",
            "select consumer_id from pgq_ext.completed_tick \
             union select consumer_id from pgq_ext.completed_batch \
             union select consumer_id from pgq_ext.completed_event order by 1",
        )?;
    }
    if present.iter().any(|table| table == "pgq_ext.bad_event") {
        contents.bad_events = texts(
            "look for events that were put aside",
            "select distinct format('%s on %s', consumer, queue) from pgq_ext.bad_event order by 1",
        )?;
    }
    Ok(contents)
}

/// Drops `pgq` with its queues and the triggers that feed them, `pgq_ext` and `pgq_coop`, in the caller's
/// transaction, whatever [`contents`] finds. Roles stay.
///
/// # Errors
/// [`Error::NoSchema`]: none is there. [`Error::InExtension`]: a schema goes with its extension. Else
/// the role does not own them.
pub fn uninstall(tx: &mut Tx<'_>) -> Result<(), Error> {
    skytools::install::lock(tx)?;
    let mut found = false;
    for schema in PARTS {
        let installed = Installed::look(&mut **tx, schema)?;
        found |= installed.present;
        if let Some(extension) = installed.extension {
            return Err(Error::InExtension {
                schema: schema.to_owned(),
                extension,
                ours: installed.ours,
            });
        }
    }
    if !found {
        return Err(Error::NoSchema);
    }
    for schema in PARTS {
        SCRIPTS.run(&mut **tx, &format!("{schema}/uninstall.sql"))?;
    }
    Ok(())
}
