//! Each row as it was last: versions gather in a temporary table of the target, which finds the last one of
//! each key by the rules of the types: `1.0` and `1.00` are one number.

use pgq::mover::Courier;
use pgq::mover::row::Reason;
use pgq::row::{Op, RowEvent};
use skytools::copy;
use skytools::db::{DbError, During, Tx};
use skytools::record::Record;

use crate::destination::{Done, Table};
use crate::few;
use crate::layout::ColumnSet;

/// Versions of one set of columns are sent when they have so many bytes.
const PART_BYTES: usize = 1024 * 1024;

/// Up to so many versions go as single statements, which is faster than making a table for them.
const FEW_ROWS: u64 = 50;

/// Up to so many bytes of them.
const FEW_BYTES: usize = 64 * 1024;

/// From so many on it pays to look at them before the server plans what to do.
const MANY_ROWS: u64 = 1000;

/// Stands in the place of a set of columns for the key of a row that is gone.
pub(crate) const GONE: i64 = -1;

/// Versions of rows that were not applied yet.
///
/// In buffers and in the temporary table they have a number each, which grows, and the number of their set of
/// columns in front.
#[derive(Debug)]
pub(crate) struct Latest {
    /// Tells the temporary table from those of other tables.
    number: usize,
    keys: Keys,
    /// Number of the last version.
    last: u64,
    /// Versions since rows were applied.
    count: u64,
    /// Rows by set of columns.
    rows: Vec<Vec<u8>>,
    /// Keys of rows that are gone.
    gone: Vec<u8>,
    bytes: usize,
    /// Whether the temporary table is there, and whether it holds something.
    made: bool,
    filled: bool,
    /// Whether a key has a NULL, which is no key.
    has_nulls: bool,
}

/// The columns that tell rows apart.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    names: Vec<Vec<u8>>,
    /// Where they are in the table.
    pub(crate) places: Vec<usize>,
}

impl Keys {
    fn are_those_of(&self, row: &RowEvent<'_>) -> bool {
        row.keys.iter().map(|(name, _)| name).eq(&self.names)
    }

    fn of(row: &RowEvent<'_>, table: &Table) -> Result<Keys, Reason> {
        let mut keys = Keys::default();
        for (name, _) in row.keys.iter() {
            let lacks = || {
                let name = String::from_utf8_lossy(name);
                Reason::Other(format!("table {} has no key column {name}", table.name))
            };
            keys.places
                .push(table.layout.place(name).ok_or_else(lacks)?);
            keys.names.push(name.to_vec());
        }
        Ok(keys)
    }
}

impl Latest {
    pub(crate) fn new(number: usize) -> Latest {
        Latest {
            number,
            keys: Keys::default(),
            last: 0,
            count: 0,
            rows: Vec::new(),
            gone: Vec::new(),
            bytes: 0,
            made: false,
            filled: false,
            has_nulls: false,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a version, whose columns are those of `sets[set]`, and of an update the row before it.
    pub(crate) fn put(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        set: usize,
        row: &RowEvent<'_>,
        old: Option<&Record<'_>>,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<Result<Done, Reason>, DbError> {
        let mut done = Done::default();
        if !self.keys.are_those_of(row) {
            let keys = match Keys::of(row, table) {
                Ok(keys) => keys,
                Err(reason) => return Ok(Err(reason)),
            };
            // What has another key now is another row.
            done = self.apply(table, sets, courier)?;
            self.keys = keys;
        }
        let key: Vec<Option<&[u8]>> = row.keys.iter().map(|(_, value)| value).collect();
        if let Some(old) = old {
            let before: Option<Vec<_>> = self.keys.names.iter().map(|name| old.get(name)).collect();
            if let Some(before) = before.filter(|before| *before != key) {
                self.put_gone(&before);
            }
        }
        let is_null = key.contains(&None);
        if row.op == Op::Delete {
            self.put_gone(&key);
        } else {
            self.has_nulls |= is_null;
            if self.rows.len() <= set {
                self.rows.resize_with(set + 1, Vec::new);
            }
            self.last += 1;
            self.count += 1;
            let rows = &mut self.rows[set];
            let before = rows.len();
            push_number(self.last, rows);
            push_number(set, rows);
            copy::row_of(sets[set].values(row), rows);
            self.bytes += rows.len() - before;
        }
        done.null_keys += u64::from(is_null);
        if self
            .rows
            .get(set)
            .is_some_and(|rows| rows.len() >= PART_BYTES)
            || self.gone.len() >= PART_BYTES
        {
            self.stage(table, sets, courier)?;
        }
        Ok(Ok(done))
    }

    /// Takes the key of a row that is gone; one with a NULL is the key of none.
    fn put_gone(&mut self, key: &[Option<&[u8]>]) {
        if key.contains(&None) {
            return;
        }
        self.last += 1;
        self.count += 1;
        let before = self.gone.len();
        push_number(self.last, &mut self.gone);
        push_number(GONE, &mut self.gone);
        copy::row(key, &mut self.gone);
        self.bytes += self.gone.len() - before;
    }

    /// Sends what waits to the temporary table.
    pub(crate) fn stage(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<(), DbError> {
        if self.bytes == 0 {
            return Ok(());
        }
        let stage = self.stage_name();
        if !self.made {
            let columns = (table.layout.columns.iter().enumerate())
                .map(|(place, column)| format!(", c{place} {}", column.definition));
            let columns: String = columns.collect();
            (courier.target()?)
                .batch_execute(&format!(
                    "create temporary table {stage} (number int8, column_set int4{columns}) on commit drop"
                ))
                .during(format!("make a temporary table like {}", table.name))?;
            self.made = true;
        }
        for (rows, set) in self.rows.iter_mut().zip(sets) {
            if !rows.is_empty() {
                let columns = stage_columns(set.places());
                courier.send(None, &stage, &columns, std::mem::take(rows))?;
            }
        }
        if !self.gone.is_empty() {
            let columns = stage_columns(self.keys.places.iter().copied());
            courier.send(None, &stage, &columns, std::mem::take(&mut self.gone))?;
        }
        self.bytes = 0;
        self.filled = true;
        Ok(())
    }

    fn stage_name(&self) -> String {
        format!("pg_temp.cube_{}", self.number)
    }

    /// Applies all versions.
    pub(crate) fn apply(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<Done, DbError> {
        let count = std::mem::take(&mut self.count);
        let has_nulls = std::mem::take(&mut self.has_nulls);
        if count == 0 {
            return Ok(Done::default());
        }
        let is_little = count <= FEW_ROWS && self.bytes <= FEW_BYTES;
        if is_little && !self.filled {
            let rows = self.rows.iter().chain([&self.gone]);
            if let Some(script) = few::Script::of(table, sets, &self.keys, rows) {
                self.rows.iter_mut().for_each(Vec::clear);
                self.gone.clear();
                self.bytes = 0;
                return script.run(table, courier.target()?);
            }
        }
        self.stage(table, sets, courier)?;
        let staged = Staged {
            stage: self.stage_name(),
            keys: &self.keys.places,
            has_nulls,
        };
        let target = courier.target()?;
        let done = staged.apply(table, sets, count >= MANY_ROWS, target)?;
        target
            .batch_execute(&format!("truncate {}", staged.stage))
            .during("empty a temporary table")?;
        self.filled = false;
        Ok(done)
    }
}

/// Versions in the temporary table.
struct Staged<'k> {
    stage: String,
    keys: &'k [usize],
    has_nulls: bool,
}

impl Staged<'_> {
    /// Removes the rows of all keys from the table, and puts the last version of each in.
    fn apply(
        &self,
        table: &Table,
        sets: &[ColumnSet],
        is_much: bool,
        target: &mut Tx<'_>,
    ) -> Result<Done, DbError> {
        let stage = &self.stage;
        let keys = self.keys_joined(", ", |place| format!("c{place}"));
        if is_much {
            let sql = format!("analyze {stage} (column_set, {keys})");
            target
                .batch_execute(&sql)
                .during("look at a temporary table")?;
        }
        let columns = &table.layout.columns;
        let same = self.keys_joined(" and ", |place| {
            let column = &columns[place];
            format!("d.{} {} s.c{place}", column.quoted(), column.equals)
        });
        let sql = format!(
            "delete from {} d where exists (select from {stage} s where {same})",
            table.quoted
        );
        let deleted = target
            .execute_typed(&sql, &[])
            .during(format!("remove old rows of table {}", table.name))?;
        let is_key = self.keys_joined(" and ", |place| format!("c{place} is not null"));
        let last = format!(
            "select distinct on ({keys}) * from {stage} where {is_key} order by {keys}, number desc"
        );
        let used = self.used(sets, target)?;
        let is_one = used.len() == 1;
        if !is_one {
            // The last version of a key may have other columns than those before it.
            let sql = format!(
                "delete from {stage} s where {is_key} \
                 and not exists (select from ({last}) l where l.number = s.number)"
            );
            target
                .execute_typed(&sql, &[])
                .during("find the last version of each row")?;
        }
        let mut inserted = 0;
        for set in used {
            let staged: Vec<String> = (sets[set].places())
                .map(|place| format!("c{place}"))
                .collect();
            let mut values = staged.join(", ");
            if let Some(period) = &table.period {
                values = format!("{values}, {}", period.value);
            }
            let mut rows = match is_one {
                true => format!("select {values} from ({last}) v"),
                false => format!("select {values} from {stage}"),
            };
            rows.push_str(&format!(" where column_set = {set}"));
            if is_one && self.has_nulls {
                rows.push_str(&format!(
                    " union all select {values} from {stage} where column_set = {set} and not ({is_key})"
                ));
            }
            let sql = format!(
                "insert into {} ({}) overriding system value {rows}",
                table.quoted,
                table.columns(&sets[set])
            );
            inserted += target
                .execute_typed(&sql, &[])
                .during(format!("put rows into table {}", table.name))?;
        }
        Ok(Done {
            inserted,
            deleted,
            null_keys: 0,
        })
    }

    /// The sets of columns that there are versions of.
    fn used(&self, sets: &[ColumnSet], target: &mut Tx<'_>) -> Result<Vec<usize>, DbError> {
        if sets.len() == 1 {
            return Ok(vec![0]);
        }
        let sql = format!(
            "select distinct column_set from {} where column_set >= 0 order by 1",
            self.stage
        );
        let rows = target
            .query_typed(&sql, &[])
            .during("look which columns there are")?;
        let set = |row: &postgres::Row| usize::try_from(row.get::<_, i32>(0)).ok();
        Ok(rows.iter().filter_map(set).collect())
    }

    fn keys_joined(&self, with: &str, one: impl Fn(usize) -> String) -> String {
        let keys: Vec<String> = self.keys.iter().map(|place| one(*place)).collect();
        keys.join(with)
    }
}

fn stage_columns(places: impl Iterator<Item = usize>) -> String {
    let columns: String = places.map(|place| format!(", c{place}")).collect();
    format!("number, column_set{columns}")
}

/// Appends a number and the end of its field.
fn push_number(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{number}\t").as_bytes());
}
