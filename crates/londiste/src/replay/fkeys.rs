//! Foreign keys: dropped before a copy, brought back when both tables are in step again.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::Row;
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Connection, Database, DbError, During, GenericClient, Tx};
use skytools::quote;
use skytools::table::TableName;
use tracing::{info, warn};

use crate::Error;

/// How often a foreign key that cannot be restored is tried and reported.
const REMINDER: Duration = Duration::from_secs(600);

/// Longest wait for a table lock: replay must not queue behind it for long, nor users behind replay.
pub(crate) const LOCK_TIMEOUT: &str = "set local lock_timeout = '5s'";

/// A dropped foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// Raw name of the table that has it.
    from: String,
    /// Raw name of the table it refers to.
    to: String,
    name: String,
    definition: String,
    comment: Option<String>,
}

impl Key {
    fn read(row: &Row) -> Key {
        Key {
            from: row.get(0),
            to: row.get(1),
            name: row.get(2),
            definition: row.get(3),
            comment: row.get(4),
        }
    }

    fn table(&self) -> String {
        TableName::parse(&self.from).quoted()
    }

    /// Whether it can be added without looking at the rows, which are checked afterwards. Else it
    /// comes back in one go: one that never was checked, or one of a partitioned table.
    fn in_two_steps(&self) -> bool {
        let definition = self.definition.as_str();
        definition.starts_with("alter table only ")
            && !definition.ends_with(" NOT VALID")
            && !definition.ends_with(" NOT ENFORCED")
    }

    fn step(&self) -> String {
        format!("restore the foreign key {} of {}", self.name, self.from)
    }
}

/// Drops the foreign keys from and to a table and remembers them, each in its own transaction so that
/// the other tables are locked only for a moment.
pub(crate) fn stash(subscriber: &mut Connection, table: &str) -> Result<(), DbError> {
    let rows = subscriber
        .query_typed(
            "select from_table, fkey_name from londiste.find_table_fkeys($1)",
            &[(&table, Type::TEXT)],
        )
        .during(format!("list the foreign keys of {table}"))?;
    for row in rows {
        let (from, name): (String, String) = (row.get(0), row.get(1));
        info!("Dropping fkey: {name}");
        let mut tx = subscriber.begin()?;
        tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
        tx.query_typed(
            "select londiste.subscriber_drop_table_fkey($1, $2)",
            &[(&from, Type::TEXT), (&name, Type::TEXT)],
        )
        .during(format!("drop the foreign key {name} of {from}"))?;
        tx.commit()?;
    }
    Ok(())
}

/// Brings foreign keys back: adds them unchecked, which takes a moment, and has a thread check the
/// rows while replay goes on.
pub(crate) struct ForeignKeys {
    failed: HashMap<(String, String), Instant>,
    /// Connection of the thread; absent while it runs.
    spare: Option<Database>,
    checking: Option<(Key, Check)>,
}

/// The thread, which gives its connection back with the result.
type Check = JoinHandle<(Database, Result<(), Error>)>;

impl ForeignKeys {
    /// `spare` is a connection to the subscriber of its own.
    pub(crate) fn new(spare: Database) -> ForeignKeys {
        ForeignKeys {
            failed: HashMap::new(),
            spare: Some(spare),
            checking: None,
        }
    }

    /// Restores the foreign keys whose tables are both in step. What fails is only warned about and
    /// tried again later.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn restore(
        &mut self,
        queue: &QueueName,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        self.reap();
        let rows = subscriber
            .query_typed(
                "select from_table, to_table, fkey_name, fkey_def, fkey_comment \
                 from londiste.subscriber_get_queue_valid_pending_fkeys($1)",
                &[(queue, Type::TEXT)],
            )
            .during("list pending foreign keys")?;
        for key in rows.iter().map(Key::read) {
            self.restore_one(subscriber, key)?;
        }
        Ok(())
    }

    /// Restores the foreign keys of a table that is not subscribed any more, unless their other end
    /// is being copied.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn release(
        &mut self,
        table: &str,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        let rows = subscriber
            .query_typed(
                "select from_table, to_table, fkey_name, fkey_def, fkey_comment \
                 from londiste.subscriber_get_table_pending_fkeys($1) f \
                 where not exists (select from londiste.subscriber_table t \
                    where t.table_name in (f.from_table, f.to_table) \
                    and t.merge_state is distinct from 'ok')",
                &[(&table, Type::TEXT)],
            )
            .during("list pending foreign keys")?;
        for key in rows.iter().map(Key::read) {
            info!("Creating fkey: {} ({} --> {})", key.name, key.from, key.to);
            let restored = at_once(subscriber, &key);
            self.judge(&key, restored)?;
        }
        Ok(())
    }

    fn restore_one(&mut self, subscriber: &mut Connection, key: Key) -> Result<(), Error> {
        let id = (key.from.clone(), key.name.clone());
        let failed = self.failed.get(&id);
        if failed.is_some_and(|last| last.elapsed() < REMINDER)
            || self
                .checking
                .as_ref()
                .is_some_and(|(checked, _)| *checked == key)
        {
            return Ok(());
        }
        if !key.in_two_steps() {
            info!("Creating fkey: {} ({} --> {})", key.name, key.from, key.to);
            let restored = at_once(subscriber, &key);
            return self.judge(&key, restored);
        }
        let added = add_unchecked(subscriber, &key);
        let is_there = added.is_ok();
        self.judge(&key, added)?;
        if is_there && let Some(mut database) = self.spare.take() {
            let checked = key.clone();
            let thread = std::thread::spawn(move || {
                let result = check(&mut database, &checked);
                database.reset();
                (database, result)
            });
            self.checking = Some((key, thread));
        }
        Ok(())
    }

    /// Takes the result of a finished check.
    fn reap(&mut self) {
        let finished = self.checking.take_if(|(_, thread)| thread.is_finished());
        if let Some((key, thread)) = finished {
            match thread.join() {
                Ok((database, result)) => {
                    self.spare = Some(database);
                    // A lost connection of the thread is not one of replay.
                    if let Err(error) = result {
                        self.complain(&key, &error);
                    }
                }
                Err(_) => warn!(
                    "checking the foreign key {} of {} panicked",
                    key.name, key.from
                ),
            }
        }
    }

    fn judge(&mut self, key: &Key, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.is_connection_lost() => Err(error),
            Err(error) => {
                self.complain(key, &error);
                Ok(())
            }
        }
    }

    fn complain(&mut self, key: &Key, error: &Error) {
        warn!("{}; replay goes on without it", chain(error));
        let id = (key.from.clone(), key.name.clone());
        self.failed.insert(id, Instant::now());
    }
}

/// Restores a foreign key in one step.
fn at_once(subscriber: &mut Connection, key: &Key) -> Result<(), Error> {
    let mut tx = subscriber.begin()?;
    tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
    tx.query_typed(
        "select londiste.subscriber_restore_table_fkey($1, $2)",
        &[(&key.from, Type::TEXT), (&key.name, Type::TEXT)],
    )
    .during(key.step())?;
    Ok(tx.commit()?)
}

/// Adds a foreign key that only new rows have to obey, unless it is there.
fn add_unchecked(subscriber: &mut Connection, key: &Key) -> Result<(), Error> {
    if is_there(&mut **subscriber, key)? {
        return Ok(());
    }
    info!("Creating fkey: {} ({} --> {})", key.name, key.from, key.to);
    let mut tx = subscriber.begin()?;
    tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
    tx.batch_execute(&format!("{} not valid", key.definition))
        .during(key.step())?;
    Ok(tx.commit()?)
}

fn is_there(db: &mut impl GenericClient, key: &Key) -> Result<bool, DbError> {
    let row = db
        .query_typed_one(
            "select exists (select from pg_catalog.pg_constraint \
             where conrelid = $1::text::regclass and conname = $2 and contype = 'f')",
            &[(&key.table(), Type::TEXT), (&key.name, Type::TEXT)],
        )
        .during(key.step())?;
    Ok(row.get(0))
}

/// Checks the rows, and forgets that the key was dropped. If they do not hold it is dropped again:
/// an unchecked key refuses new rows of replay.
fn check(database: &mut Database, key: &Key) -> Result<(), Error> {
    let connection = database.connection()?;
    connection
        .batch_execute("set statement_timeout = 0")
        .during("prepare the session")?;
    let validate = |tx: &mut Tx<'_>| -> Result<(), DbError> {
        let (table, name) = (key.table(), quote::ident(&key.name));
        tx.batch_execute(&format!(
            "alter table only {table} validate constraint {name}"
        ))
        .during(key.step())?;
        if let Some(comment) = &key.comment {
            let comment = quote::literal(comment);
            tx.batch_execute(&format!(
                "comment on constraint {name} on {table} is {comment}"
            ))
            .during(key.step())?;
        }
        tx.query_typed(
            "delete from londiste.subscriber_pending_fkeys \
             where from_table = $1 and fkey_name = $2",
            &[(&key.from, Type::TEXT), (&key.name, Type::TEXT)],
        )
        .during(key.step())?;
        Ok(())
    };
    let mut tx = connection.begin()?;
    let Err(error) = validate(&mut tx) else {
        return Ok(tx.commit()?);
    };
    tx.rollback()?;
    let mut tx = connection.begin()?;
    tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
    tx.batch_execute(&format!(
        "alter table only {} drop constraint if exists {}",
        key.table(),
        quote::ident(&key.name)
    ))
    .during(format!("drop the foreign key {} again", key.name))?;
    tx.commit()?;
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(definition: &str) -> Key {
        Key {
            from: "public.a".to_owned(),
            to: "public.b".to_owned(),
            name: "fk".to_owned(),
            definition: definition.to_owned(),
            comment: None,
        }
    }

    #[test]
    fn a_key_is_checked_later_where_the_server_can() {
        let only = "alter table only public.a add constraint fk FOREIGN KEY (x) REFERENCES b(x)";
        assert!(key(only).in_two_steps());
        assert!(!key(&format!("{only} NOT VALID")).in_two_steps());
        assert!(!key(&only.replace("only ", "")).in_two_steps());
    }
}
