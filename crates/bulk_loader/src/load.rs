//! The changes of a table as few statements.
//!
//! The rows go by COPY into a temporary table with the columns of the target, but none of its constraints,
//! and from there into the target by the columns of the key. Within a table deletes come first, then
//! updates, then inserts.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use pgq::mover::Report;
use postgres::error::SqlState;
use skytools::copy_in::CopyIn;
use skytools::db::{DbError, During, Tx};
use skytools::shape::Exact;
use tracing::{debug, info, warn};

use crate::Config;
use crate::changes::{Group, Line, Net, count};
use crate::config::{LoadMethod, MergeMode, NullKeys, TempTables};
use crate::equality;
use crate::sets::fields;
use crate::table::Table;

/// The step in errors.
const STEP: &str = "load rows";

/// Applies what was gathered for a table.
pub(crate) fn apply(
    table: &mut Table,
    tx: &mut Tx<'_>,
    config: &Config,
    report: &mut Report,
) -> Result<(), DbError> {
    let twins = match table.changes.may_have_twins() {
        true => twins(table, tx, config)?,
        false => Vec::new(),
    };
    let rows = table.changes.take(&twins);
    let mut net = Net::of(rows, &mut table.changes.sets);
    net.deletes.sort_by(|a, b| by_key(table, a, b));
    for group in net.updates.iter_mut().chain(&mut net.attempts) {
        group.rows.sort_by(|(a, _), (b, _)| by_key(table, a, b));
    }
    debug!(
        "{}: inserts={} updates={} deletes={}",
        table.name,
        count(&net.inserts),
        count(&net.updates) + count(&net.attempts),
        net.deletes.len()
    );
    let mut load = Load {
        compat: config.merge_mode == MergeMode::Compat,
        table,
        tx,
        config,
    };
    let deleted = load.deletes(&net.deletes)?;
    let displaced = load.update_those_there(&net.attempts)?;
    let (updated, inserted) = match (config.merge_mode, config.load_method) {
        (MergeMode::Upsert, _) => load.upsert(&net)?,
        (_, LoadMethod::Correct) => load.correct(&net)?,
        (_, LoadMethod::Delete) => load.replace(&net.updates, &[], &net.inserts)?,
        (_, LoadMethod::Merged) if load.table.key.is_empty() => {
            load.replace(&net.updates, &[], &net.inserts)?
        }
        (_, LoadMethod::Merged) => load.replace(&net.updates, &net.inserts, &[])?,
    };
    let counts = report.of(&table.name.to_string());
    counts.deleted += deleted;
    counts.updated += displaced + updated;
    counts.inserted += inserted;
    Ok(())
}

/// Where keys stand in an index, likely.
fn by_key(table: &Table, a: &[u8], b: &[u8]) -> Ordering {
    let columns = table.key.iter().map(|place| &table.shape.columns[*place]);
    columns
        .zip(fields(a).zip(fields(b)))
        .fold(Ordering::Equal, |order, (column, (a, b))| {
            order.then_with(|| column.order(a, b))
        })
}

/// Numbers of the rows that are one to the server, though their keys are written in different ways.
fn twins(table: &mut Table, tx: &mut Tx<'_>, config: &Config) -> Result<Vec<Vec<u32>>, DbError> {
    let temporary = temporary(table, tx, config)?;
    let number = table.number_column();
    let key = table.columns(&table.key);
    let sql = format!("copy {temporary} ({number}, {key}) from stdin");
    let mut copy = CopyIn::begin(tx, &sql, STEP)?;
    for (number, key) in table.changes.keys().into_iter().enumerate() {
        let text = copy.text();
        text.extend_from_slice(number.to_string().as_bytes());
        text.push(b'\t');
        text.extend_from_slice(key);
        text.push(b'\n');
        copy.sent()?;
    }
    copy.finish()?;
    let rows = tx
        .query_typed(
            &format!(
                "select pg_catalog.array_agg({number} order by {number}) from {temporary} \
                 group by {key} having pg_catalog.count(*) > 1"
            ),
            &[],
        )
        .during("look for keys that are written in several ways")?;
    let numbers = |row: &postgres::Row| -> Vec<u32> {
        let numbers: Vec<i64> = row.get(0);
        numbers
            .into_iter()
            .filter_map(|number| u32::try_from(number).ok())
            .collect()
    };
    Ok(rows.iter().map(numbers).collect())
}

/// The temporary table, empty.
fn temporary(table: &mut Table, tx: &mut Tx<'_>, config: &Config) -> Result<String, DbError> {
    let step = "create a temporary table";
    if let Some((name, filled)) = &mut table.temporary {
        if std::mem::replace(filled, true) {
            tx.batch_execute(&format!("truncate {name}")).during(step)?;
        }
        return Ok(name.clone());
    }
    let oid = table.shape.oid;
    let (name, create, rows) = match config.temp_tables {
        TempTables::Transaction => (
            format!("bulk_loader_{oid}"),
            "create temporary table",
            "drop",
        ),
        TempTables::Session => {
            let mut hasher = DefaultHasher::new();
            for column in &table.shape.columns {
                (&column.name, &column.type_name, column.modifier).hash(&mut hasher);
            }
            (
                format!("bulk_loader_{oid}_{:016x}", hasher.finish()),
                "create temporary table if not exists",
                "delete rows",
            )
        }
    };
    let all: Vec<usize> = (0..table.shape.columns.len()).collect();
    tx.batch_execute(&format!(
        "{create} {name} on commit {rows} as \
         select null::pg_catalog.int8 as {}, {} from {} with no data",
        table.number_column(),
        table.columns(&all),
        table.quoted
    ))
    .during(step)?;
    debug!("temporary table {name} for {}", table.name);
    let name = format!("pg_temp.{name}");
    table.temporary = Some((name.clone(), true));
    Ok(name)
}

/// Changes of one table on their way.
struct Load<'l, 't> {
    table: &'l mut Table,
    tx: &'l mut Tx<'t>,
    config: &'l Config,
    /// Each row is expected to be there, or not, as its changes say.
    compat: bool,
}

/// Rows of a temporary table.
struct Loaded {
    name: String,
    /// For each group its condition on the rows, if there are several groups.
    conditions: Vec<String>,
}

impl Load<'_, '_> {
    fn deletes(&mut self, keys: &[Box<[u8]>]) -> Result<u64, DbError> {
        if keys.is_empty() {
            return Ok(0);
        }
        info!("Deleting {} rows from {}", keys.len(), self.table.name);
        let temporary = temporary(self.table, self.tx, self.config)?;
        let key = self.table.columns(&self.table.key);
        let sql = format!("copy {temporary} ({key}) from stdin");
        let mut copy = CopyIn::begin(self.tx, &sql, STEP)?;
        for key in keys {
            copy.text().extend_from_slice(key);
            copy.text().push(b'\n');
            copy.sent()?;
        }
        copy.finish()?;
        self.analyze(&temporary)?;
        let deleted = self.delete(&temporary)?;
        self.expect("Delete mismatch", "deleted", keys.len() as u64, deleted);
        Ok(deleted)
    }

    /// Rows whose keys others have left, if these were there.
    fn update_those_there(&mut self, groups: &[Group]) -> Result<u64, DbError> {
        let mut updated = 0;
        if !groups.is_empty() {
            info!(
                "Updating up to {} rows in {}",
                count(groups),
                self.table.name
            );
            let loaded = self.fill(groups)?;
            for (group, condition) in groups.iter().zip(&loaded.conditions) {
                updated += self.update(&loaded.name, group, condition)?;
            }
        }
        Ok(updated)
    }

    /// Method 0: (updated, inserted).
    fn correct(&mut self, net: &Net) -> Result<(u64, u64), DbError> {
        let expected = count(&net.updates);
        let (mut updated, mut inserted) = (0, 0);
        if expected > 0 {
            info!("Updating {expected} rows in {}", self.table.name);
            let loaded = self.fill(&net.updates)?;
            let mut possible = 0;
            for (group, condition) in net.updates.iter().zip(&loaded.conditions) {
                let mut expected = 0;
                if self.assignments(group).is_some() {
                    expected = group.rows.len() as u64;
                    updated += self.update(&loaded.name, group, condition)?;
                }
                if self.config.heal && self.table.changes.sets.places(group.set).is_empty() {
                    let healed = self.insert_missing(&loaded.name, group, condition)?;
                    expected = expected.saturating_sub(healed);
                    inserted += healed;
                }
                possible += expected;
            }
            self.expect("Update mismatch", "updated", possible, updated);
        }
        inserted += self.copy(&net.inserts)?;
        Ok((updated, inserted))
    }

    /// Methods 1 and 2, where rows that may be there are deleted first: (updated, inserted).
    fn replace(
        &mut self,
        changed: &[Group],
        healed: &[Group],
        new: &[Group],
    ) -> Result<(u64, u64), DbError> {
        let expected = count(changed);
        let all = expected + count(healed);
        let (mut updated, mut inserted) = (0, 0);
        if all > 0 {
            info!("Replacing {all} rows in {}", self.table.name);
            let groups: Vec<&Group> = changed.iter().chain(healed).collect();
            let loaded = self.fill(groups.iter().copied())?;
            updated = self.delete(&loaded.name)?;
            for (group, condition) in groups.iter().zip(&loaded.conditions) {
                inserted += self.insert(&loaded.name, group, condition)?;
            }
            inserted = inserted.saturating_sub(updated);
            self.expect("Update mismatch", "deleted", expected, updated);
        }
        inserted += self.copy(new)?;
        Ok((updated, inserted))
    }

    /// Every row is there in the end: (updated, inserted).
    fn upsert(&mut self, net: &Net) -> Result<(u64, u64), DbError> {
        let (updated, inserted) = self.update_or_insert(&net.updates)?;
        let (more_updated, more_inserted) = self.upsert_new(&net.inserts)?;
        Ok((updated + more_updated, inserted + more_inserted))
    }

    /// Rows that are new, unless they are there: (updated, inserted).
    fn upsert_new(&mut self, groups: &[Group]) -> Result<(u64, u64), DbError> {
        if groups.is_empty() {
            return Ok((0, 0));
        }
        if self.table.key.is_empty() {
            return Ok((0, self.copy(groups)?));
        }
        if !self.is_unique() {
            return self.update_or_insert(groups);
        }
        let had_temporary = self.table.temporary.is_some();
        let (table, config) = (&mut *self.table, self.config);
        let copied = self.tx.savepoint(|tx| {
            let compat = false;
            let mut load = Load {
                table,
                tx,
                config,
                compat,
            };
            load.copy(groups)
        });
        match copied {
            Ok(copied) => Ok((0, copied)),
            Err(error) if error.sql_state() == Some(&SqlState::UNIQUE_VIOLATION) => {
                info!("some of these rows are in {} already", self.table.name);
                if !had_temporary {
                    // It was undone with the rest.
                    self.table.temporary = None;
                }
                self.update_or_insert(groups)
            }
            Err(error) => Err(error),
        }
    }

    fn update_or_insert(&mut self, groups: &[Group]) -> Result<(u64, u64), DbError> {
        let (mut updated, mut inserted) = (0, 0);
        if groups.is_empty() {
            return Ok((0, 0));
        }
        info!("Updating {} rows in {}", count(groups), self.table.name);
        let loaded = self.fill(groups)?;
        for (group, condition) in groups.iter().zip(&loaded.conditions) {
            let here = match self.assignments(group) {
                Some(_) => self.update(&loaded.name, group, condition)?,
                None => 0,
            };
            updated += here;
            if here < group.rows.len() as u64 || !self.is_unique() {
                inserted += self.insert_missing(&loaded.name, group, condition)?;
            }
        }
        Ok((updated, inserted))
    }

    /// Rows that are new go where they belong at once.
    fn copy(&mut self, groups: &[Group]) -> Result<u64, DbError> {
        let rows = count(groups);
        if rows == 0 {
            return Ok(0);
        }
        info!("Inserting {rows} rows into {}", self.table.name);
        let computed = |place: &usize| self.table.shape.columns[*place].generated;
        if self.table.key.iter().any(computed) {
            let loaded = self.fill(groups)?;
            let mut inserted = 0;
            for (group, condition) in groups.iter().zip(&loaded.conditions) {
                inserted += self.insert(&loaded.name, group, condition)?;
            }
            return Ok(inserted);
        }
        for group in groups {
            let columns = self.places(group);
            if columns.is_empty() {
                // COPY of no columns cannot be said.
                let sql = format!("insert into {} default values", self.table.quoted);
                for _ in &group.rows {
                    self.tx.batch_execute(&sql).during(STEP)?;
                }
                continue;
            }
            let sql = format!(
                "copy {} ({}) from stdin",
                self.table.quoted,
                self.table.columns(&columns)
            );
            let both = self.has_both(group);
            let mut copy = CopyIn::begin(self.tx, &sql, STEP)?;
            for row in &group.rows {
                push_row(row, both, copy.text());
                copy.sent()?;
            }
            copy.finish()?;
        }
        Ok(rows)
    }

    /// Puts groups into the temporary table.
    fn fill<'g>(&mut self, groups: impl IntoIterator<Item = &'g Group>) -> Result<Loaded, DbError> {
        let groups: Vec<&Group> = groups.into_iter().collect();
        let name = temporary(self.table, self.tx, self.config)?;
        let number = self.table.number_column();
        let mut conditions = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let columns = self.table.columns(&self.places(group));
            let sql = match groups.len() {
                1 => format!("copy {name} ({columns}) from stdin"),
                _ => format!("copy {name} ({number}, {columns}) from stdin"),
            };
            let both = self.has_both(group);
            let mut copy = CopyIn::begin(self.tx, &sql, STEP)?;
            let head = match groups.len() {
                1 => String::new(),
                _ => format!("{place}\t"),
            };
            for row in &group.rows {
                copy.text().extend_from_slice(head.as_bytes());
                push_row(row, both, copy.text());
                copy.sent()?;
            }
            copy.finish()?;
            conditions.push(match groups.len() {
                1 => String::new(),
                _ => format!("s.{number} = {place}"),
            });
        }
        self.analyze(&name)?;
        Ok(Loaded { name, conditions })
    }

    fn analyze(&mut self, temporary: &str) -> Result<(), DbError> {
        if self.config.analyze {
            self.tx
                .batch_execute(&format!("analyze {temporary}"))
                .during("gather statistics about rows")?;
        }
        Ok(())
    }

    fn delete(&mut self, temporary: &str) -> Result<u64, DbError> {
        let sql = format!(
            "delete from {} as t using {temporary} as s where {}",
            self.table.quoted,
            self.same_key()
        );
        self.execute(&sql)
    }

    fn update(&mut self, temporary: &str, group: &Group, condition: &str) -> Result<u64, DbError> {
        let Some(assignments) = self.assignments(group) else {
            return Ok(0);
        };
        let sql = format!(
            "update {} as t set {assignments} from {temporary} as s where {}{}",
            self.table.quoted,
            self.same_key(),
            and(condition)
        );
        self.execute(&sql)
    }

    fn insert(&mut self, temporary: &str, group: &Group, condition: &str) -> Result<u64, DbError> {
        let sql = self.insert_sql(temporary, group, condition);
        self.execute(&sql)
    }

    fn insert_missing(
        &mut self,
        temporary: &str,
        group: &Group,
        condition: &str,
    ) -> Result<u64, DbError> {
        let missing = format!(
            "not exists (select from {} as t where {}){}",
            self.table.quoted,
            self.same_key(),
            and(condition)
        );
        let sql = self.insert_sql(temporary, group, &missing);
        self.execute(&sql)
    }

    fn insert_sql(&self, temporary: &str, group: &Group, condition: &str) -> String {
        let column = |place: &usize| &self.table.shape.columns[*place];
        let places: Vec<usize> = self.places(group);
        let places: Vec<usize> = places
            .into_iter()
            .filter(|place| !column(place).generated)
            .collect();
        let insist = match places.iter().any(|place| column(place).identity) {
            true => " overriding system value",
            false => "",
        };
        let condition = match condition {
            "" => String::new(),
            condition => format!(" where {condition}"),
        };
        let columns = self.table.columns(&places);
        format!(
            "insert into {} ({columns}){insist} select {columns} from {temporary} as s{condition}",
            self.table.quoted
        )
    }

    fn execute(&mut self, sql: &str) -> Result<u64, DbError> {
        let rows = self.tx.execute_typed(sql, &[]).during(STEP)?;
        debug!("{rows} rows: {sql}");
        Ok(rows)
    }

    /// What an update of a group sets; `None` if there is nothing to set.
    fn assignments(&self, group: &Group) -> Option<String> {
        let settable = |place: &&usize| {
            let column = &self.table.shape.columns[**place];
            !column.generated && !column.identity
        };
        let set = self.table.changes.sets.places(group.set).iter();
        // A key that equals the old one may be another text to those who read it. Clusters refuse to move rows.
        let respelled = |place: &&usize| {
            self.table.shape.columns[**place].exact == Exact::No
                && !self.table.distribution.contains(*place)
        };
        let key = self.table.key.iter().filter(respelled);
        let assignments: Vec<String> = set
            .chain(key)
            .filter(settable)
            .map(|place| {
                let name = self.table.shape.columns[*place].quoted();
                format!("{name} = s.{name}")
            })
            .collect();
        (!assignments.is_empty()).then(|| assignments.join(", "))
    }

    /// The columns of a group's rows: the key, then the others.
    fn places(&self, group: &Group) -> Vec<usize> {
        let set = self.table.changes.sets.places(group.set);
        self.table.key.iter().chain(set).copied().collect()
    }

    /// Whether rows have a key and other values.
    fn has_both(&self, group: &Group) -> bool {
        let values = self.table.changes.sets.places(group.set);
        !self.table.key.is_empty() && !values.is_empty()
    }

    /// Whether a row `t` of the target is the row `s`.
    fn same_key(&self) -> String {
        let columns = self.table.key.iter().map(|place| {
            let name = self.table.shape.columns[*place].quoted();
            match (self.nulls_match(), self.table.equals[*place].as_str()) {
                (false, equals) => format!("t.{name} {equals} s.{name}"),
                (true, equality::BY_PATH) => format!("t.{name} is not distinct from s.{name}"),
                (true, equals) => {
                    format!("(t.{name} {equals} s.{name} or t.{name} is null and s.{name} is null)")
                }
            }
        });
        columns.collect::<Vec<_>>().join(" and ")
    }

    /// Whether a null in a key has to find another one.
    fn nulls_match(&self) -> bool {
        self.table.null_keys && self.config.null_keys == NullKeys::Equal
    }

    /// Whether the server refuses a second row with a key, at once and wherever the first one is.
    fn is_unique(&self) -> bool {
        let Table { shape, key, .. } = &*self.table;
        let in_key = |number: &i16| {
            let place = shape.place_of_number(*number);
            place.is_some_and(|place| key.contains(&place))
        };
        let mut indexes = shape.unique.iter();
        !self.nulls_match()
            && !shape.inherited
            && indexes.any(|index| index.decides && index.columns.iter().all(in_key))
    }

    fn expect(&self, what: &str, done: &str, expected: u64, actual: u64) {
        if self.compat && expected != actual {
            warn!(
                "{what} in {}: expected={expected} {done}={actual}",
                self.table.name
            );
        }
    }
}

/// ` and CONDITION`, if there is one.
fn and(condition: &str) -> String {
    match condition {
        "" => String::new(),
        condition => format!(" and {condition}"),
    }
}

/// Appends a row of COPY: key and values, either of which may be none.
fn push_row((key, values): &Line, both: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    if both {
        out.push(b'\t');
    }
    out.extend_from_slice(values);
    out.push(b'\n');
}
