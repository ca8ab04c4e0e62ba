use pgq::{ConsumerName, QueueName, admin, position};
use postgres::types::Type;
use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::{Connection, During, Tx};
use skytools::table::TableName;
use tracing::{error, info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, restore_pending, step};
use crate::replay::mirror::{self, GLOBAL_WATERMARK};
use crate::{CascadeError, Error, node, registry};

/// Makes the relay of this configuration, which is its `subscriber_db`, the root.
pub(in super::super) fn run(setup: &mut Setup<'_>, stop: &Stop) -> Result<Outcome, Error> {
    super::need_relay_config(setup)?;
    let (queue, consumer, force) = (setup.queue, setup.consumer.clone(), setup.options.force);
    let db = setup.subscriber()?;
    super::lock_replay(db, &consumer, stop)?;
    if !mirror::is_relay(db, queue)? {
        return Err(CascadeError::NotRelay(queue.clone()).into());
    }
    let Some(stored) = position::last_tick(&mut **db, "londiste", &consumer)? else {
        return Err(CascadeError::NoPosition(consumer).into());
    };
    mirror::complete(queue, stored, db)?;
    let before = node::find(db, queue)?;
    super::need_whole(db, queue, force)?;
    report_triggers(db, queue)?;
    report_sequences(db, queue)?;
    restore_fkeys(db, queue)?;

    let mut outcome = Outcome::Done;
    let last = step(db, |tx| {
        outcome = capture(tx, queue, force)?;
        let row = tx
            .query_typed_one("select londiste.relay_promote($1)", &[(queue, Type::TEXT)])
            .during("promote the relay")?;
        Ok(row.get::<_, pgq::TickId>(0))
    })?;
    crate::failpoint::step("promote.half");
    let first: pgq::TickId = step(db, |tx| {
        let row = tx
            .query_typed_one("select londiste.relay_promoted($1)", &[(queue, Type::TEXT)])
            .during("make the first tick of the new root")?;
        // Its watermark comes from nobody any more; what the old root needs to come back stays.
        admin::unregister_consumer(&mut **tx, queue, &ConsumerName::from(GLOBAL_WATERMARK))?;
        let old = old_root(tx, queue, before.as_ref().map_or(0, |node| node.generation))?;
        admin::register_consumer_at(&mut **tx, queue, &super::gravestone(&old), last)?;
        super::forget_positions(tx, &consumer)?;
        Ok(row.get(0))
    })?;
    info!(
        "subscriber_db is the root of queue {queue} now; changes up to tick {last} are the old root's"
    );
    info!("its first own tick is {first}; a ticker has to run for it: pgqadm INI ticker");
    info!("the other nodes follow with: londiste INI subscriber change-provider DSN");
    Ok(outcome)
}

/// Name of the node that was the root before.
fn old_root(tx: &mut Tx<'_>, queue: &QueueName, generation: i32) -> Result<String, Error> {
    let promotions = node::promotions(tx, queue)?;
    let old = promotions
        .into_iter()
        .find(|promotion| promotion.generation == generation);
    Ok(old.map_or_else(|| node::ROOT.to_owned(), |promotion| promotion.node))
}

/// Captures the changes of every table that the relay published.
fn capture(tx: &mut Tx<'_>, queue: &QueueName, force: bool) -> Result<Outcome, Error> {
    tx.execute_typed(
        "update londiste.provider_table \
         set trigger_name = londiste.trigger_name(queue_name, capture_level) \
         where queue_name = $1 and trigger_name is null",
        &[(queue, Type::TEXT)],
    )
    .during("name the triggers")?;
    let mut outcome = Outcome::Done;
    for table in registry::provider_tables(tx, queue)? {
        let made = tx.savepoint(|tx| -> Result<(), Error> {
            tx.query_typed(
                "select londiste.provider_create_trigger($1, $2, \
                        londiste.provider_column_types($1, $2))",
                &[(queue, Type::TEXT), (&table, Type::TEXT)],
            )
            .during(format!("capture the changes of {table}"))?;
            Ok(())
        });
        match made {
            Ok(()) => info!("capturing the changes of {table}"),
            Err(failure) if force && !failure.is_connection_lost() => {
                error!("{table} is published no more: {}", chain(&failure));
                tx.execute_typed(
                    "delete from londiste.provider_table where queue_name = $1 and table_name = $2",
                    &[(queue, Type::TEXT), (&table, Type::TEXT)],
                )
                .during("forget the table")?;
                outcome = Outcome::Failed;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(outcome)
}

/// Says how many triggers the new root does not have.
fn report_triggers(db: &mut Connection, queue: &QueueName) -> Result<(), Error> {
    let pending: i64 = db
        .query_typed_one(
            "select count(*) from londiste.subscriber_pending_triggers p \
             join londiste.provider_table t using (table_name) where t.queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look for triggers that were put aside")?
        .get(0);
    if pending > 0 {
        warn!(
            "{pending} triggers were put aside when tables were added; bring back those that a root \
             needs: londiste.subscriber_restore_all_table_triggers(TABLE)"
        );
    }
    Ok(())
}

/// Names the sequences of the published tables that were not replicated: they stand where they were when the node
/// was made, and give numbers that rows have.
fn report_sequences(db: &mut Connection, queue: &QueueName) -> Result<(), Error> {
    let rows = db
        .query_typed(
            "select distinct sn.nspname, s.relname
               from londiste.provider_table t
              cross join lateral londiste.split_fqname(t.table_name) f
               join pg_catalog.pg_namespace n on n.nspname = f.o_schema
               join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = f.o_name
               left join pg_catalog.pg_attrdef a on a.adrelid = c.oid
               join pg_catalog.pg_depend d
                 on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = a.oid
                    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i')
                    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = c.oid
               join pg_catalog.pg_class s on s.relkind = 'S' and s.oid in (d.refobjid, d.objid)
               join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
              where t.queue_name = $1
              order by 1, 2",
            &[(queue, Type::TEXT)],
        )
        .during("look for the sequences of the tables")?;
    let replicated = registry::subscriber_seqs(db, queue)?;
    let missing: Vec<String> = rows
        .iter()
        .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)).to_string())
        .filter(|name| !replicated.contains(name))
        .collect();
    if !missing.is_empty() {
        warn!(
            "not replicated, so behind the rows of their tables: sequences {}; set them before an application \
             writes, see pg_catalog.setval",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Brings foreign keys back that wait for it; replay will not do it any more.
fn restore_fkeys(db: &mut Connection, queue: &QueueName) -> Result<(), Error> {
    let pending = db
        .query_typed(
            "select from_table, fkey_name \
             from londiste.subscriber_get_queue_valid_pending_fkeys($1)",
            &[(queue, Type::TEXT)],
        )
        .during("list pending foreign keys")?;
    restore_pending(db, &pending)
}
