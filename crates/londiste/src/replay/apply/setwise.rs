//! Statements that change many rows at once.

use std::cmp::Ordering;

use postgres::types::{ToSql, Type};
use skytools::copy_in::CopyIn;
use skytools::db::{DbError, During, TextValue, Tx};

use super::class::Target;
use super::literal::{Scanner, Value};
use super::plan::{Apart, Net, Row, Update, insert};

/// Rows of one statement.
const ROWS: usize = 50_000;

/// Bytes of values in one statement, about.
const BYTES: usize = 32 * 1024 * 1024;

/// Finds the rows by their key, however many there are in the table: nothing is known about the values
/// that are joined, and a plan that reads the whole table would be taken time and again.
const BY_KEY: &str = "set local enable_hashjoin = off; set local enable_mergejoin = off";

/// Back to what it was, for what users' functions do.
const BY_COST: &str = "set local enable_hashjoin to default; set local enable_mergejoin to default";

/// Why rows could not be changed at once.
#[derive(Debug)]
pub(super) enum Failure {
    /// What they are cannot be said in this way.
    Apart,
    Db(DbError),
    /// Not as many rows were there as there should have been.
    Missing,
}

impl From<Apart> for Failure {
    fn from(_: Apart) -> Failure {
        Failure::Apart
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Failure {
        Failure::Db(error)
    }
}

/// Changes the rows of a table; with `exact`, all of them have to be there.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    net: &Net<'_>,
    exact: bool,
) -> Result<(), Failure> {
    let joins = !(net.deletes.is_empty() && net.updates.is_empty());
    if joins {
        tx.batch_execute(BY_KEY).during("prefer indexes")?;
    }
    // In the order of the index, what is near is found near.
    let mut deletes: Vec<&Row<'_>> = net.deletes.iter().collect();
    deletes.sort_by(|a, b| by_key(target, a, b));
    for keys in portions(&deletes, |key| key) {
        let expected = keys.len();
        let touched = delete(tx, table, target, keys)?;
        check(touched, expected, exact)?;
    }
    // Columns in which the updates differ make statements of their own.
    let mut groups: Vec<(Vec<usize>, Vec<&Update<'_>>)> = Vec::new();
    for update in &net.updates {
        let same = |columns: &[usize]| {
            columns.len() == update.1.len()
                && columns
                    .iter()
                    .zip(&update.1)
                    .all(|(column, (place, _))| column == place)
        };
        match groups.iter_mut().rev().find(|(columns, _)| same(columns)) {
            Some((_, updates)) => updates.push(update),
            None => {
                let columns = update.1.iter().map(|(place, _)| *place).collect();
                groups.push((columns, vec![update]));
            }
        }
    }
    for (columns, updates) in &mut groups {
        updates.sort_by(|(a, _), (b, _)| by_key(target, a, b));
        for updates in portions(updates, |update| &update.1) {
            let expected = updates.len();
            let touched = update(tx, table, target, columns, updates)?;
            check(touched, expected, exact)?;
        }
    }
    if joins {
        tx.batch_execute(BY_COST).during("prefer what is cheaper")?;
    }
    copy_rows(tx, table, target, &net.inserts)?;
    copy_plain(tx, table, target, &net.plain_inserts)
}

/// Where a key stands in the index, beside another.
fn by_key(target: &Target, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let columns = a.iter().zip(b).map(|((place, a), (_, b))| {
        let (a, b) = (a.inside(), b.inside());
        target.columns()[*place].order(a.unwrap_or_default(), b.unwrap_or_default())
    });
    columns.fold(Ordering::Equal, Ordering::then)
}

fn check(touched: u64, expected: usize, exact: bool) -> Result<(), Failure> {
    if exact && usize::try_from(touched) != Ok(expected) {
        return Err(Failure::Missing);
    }
    Ok(())
}

/// Slices that make one statement each.
fn portions<'r, 'c: 'r, T>(
    rows: &'r [T],
    values: impl Fn(&'r T) -> &'r Row<'c>,
) -> impl Iterator<Item = &'r [T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut count = 0;
        while count < rest.len() && count < ROWS && bytes < BYTES {
            let row = values(&rest[count]);
            bytes += row.iter().map(|(_, value)| size(*value)).sum::<usize>();
            count += 1;
        }
        let (portion, more) = rest.split_at(count);
        rest = more;
        (count > 0).then_some(portion)
    })
}

fn size(value: Value<'_>) -> usize {
    value.inside().map_or(0, <[u8]>::len) + 4
}

/// Arrays of values, one for each column, as text.
struct Arrays(Vec<Vec<u8>>);

impl Arrays {
    fn new(columns: usize) -> Arrays {
        Arrays(vec![vec![b'{']; columns])
    }

    fn push(&mut self, column: usize, value: Value<'_>) {
        let array = &mut self.0[column];
        if array.len() > 1 {
            array.push(b',');
        }
        value.push_element(array);
    }

    fn execute(mut self, tx: &mut Tx<'_>, sql: &str) -> Result<u64, DbError> {
        self.0.iter_mut().for_each(|array| array.push(b'}'));
        let values: Vec<TextValue<'_>> = self.0.iter().map(|array| TextValue(array)).collect();
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> = values
            .iter()
            .map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        tx.execute_typed(sql, &parameters)
            .during("apply events at once")
    }
}

/// `unnest($1::int4[],…) as v (k0,…)`, and the comparison of the keys.
fn source(target: &Target, key: &[usize], set: &[usize]) -> (String, String) {
    let columns: Vec<(usize, String)> = (key.iter().enumerate())
        .map(|(number, place)| (*place, format!("k{number}")))
        .chain(
            set.iter()
                .enumerate()
                .map(|(number, place)| (*place, format!("s{number}"))),
        )
        .collect();
    let arrays: Vec<String> = (columns.iter().enumerate())
        .map(|(number, (place, _))| {
            format!("${}::{}[]", number + 1, target.columns()[*place].type_name)
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
    let comparisons: Vec<String> = (key.iter().enumerate())
        .map(|(number, place)| format!("t.{} = v.k{number}", name(target, *place)))
        .collect();
    (
        format!("unnest({}) as v ({})", arrays.join(","), names.join(",")),
        comparisons.join(" and "),
    )
}

fn name(target: &Target, place: usize) -> String {
    String::from_utf8_lossy(target.spelled(place)).into_owned()
}

fn delete(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    keys: &[&Row<'_>],
) -> Result<u64, DbError> {
    let key: Vec<usize> = keys[0].iter().map(|(place, _)| *place).collect();
    let mut arrays = Arrays::new(key.len());
    for row in keys {
        for (column, (_, value)) in row.iter().enumerate() {
            arrays.push(column, *value);
        }
    }
    let (source, condition) = source(target, &key, &[]);
    arrays.execute(
        tx,
        &format!("delete from only {table} as t using {source} where {condition}"),
    )
}

fn update(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    columns: &[usize],
    updates: &[&Update<'_>],
) -> Result<u64, DbError> {
    let key: Vec<usize> = updates[0].0.iter().map(|(place, _)| *place).collect();
    let mut arrays = Arrays::new(key.len() + columns.len());
    for (keys, set) in updates {
        for (column, (_, value)) in keys.iter().chain(set).enumerate() {
            arrays.push(column, *value);
        }
    }
    let (source, condition) = source(target, &key, columns);
    let assignments: Vec<String> = (columns.iter().enumerate())
        .map(|(number, place)| format!("{} = v.s{number}", name(target, *place)))
        .collect();
    arrays.execute(
        tx,
        &format!(
            "update only {table} as t set {} from {source} where {condition}",
            assignments.join(",")
        ),
    )
}

fn begin_copy<'t>(
    tx: &'t mut Tx<'_>,
    table: &str,
    target: &Target,
    columns: &[usize],
) -> Result<CopyIn<'t>, DbError> {
    let names: Vec<String> = columns.iter().map(|place| name(target, *place)).collect();
    let sql = format!("copy {table} ({}) from stdin", names.join(","));
    CopyIn::begin(tx, &sql, "insert events at once")
}

fn push(copy: &mut CopyIn<'_>, value: Value<'_>, separator: u8) -> Result<(), DbError> {
    value.push_copy(copy.text());
    copy.text().push(separator);
    copy.sent()
}

fn copy_rows(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    rows: &[Row<'_>],
) -> Result<(), Failure> {
    let columns = |row: &Row<'_>| row.iter().map(|(place, _)| *place).collect::<Vec<_>>();
    for rows in rows.chunk_by(same_columns) {
        let columns = columns(&rows[0]);
        if columns.is_empty() {
            return Err(Failure::Apart);
        }
        let mut copy = begin_copy(tx, table, target, &columns)?;
        for row in rows {
            for (number, (_, value)) in row.iter().enumerate() {
                let last = number + 1 == row.len();
                push(&mut copy, *value, if last { b'\n' } else { b'\t' })?;
            }
        }
        copy.finish()?;
    }
    Ok(())
}

fn same_columns(a: &Row<'_>, b: &Row<'_>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
}

/// As [`copy_rows`], straight from partial SQL.
fn copy_plain(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    rows: &[&[u8]],
) -> Result<(), Failure> {
    let mut rest = rows;
    while let [first, ..] = rest {
        let head = Scanner::new(first).insert_head().ok_or(Apart)?;
        let same = rest.iter().take_while(|row| row.starts_with(head)).count();
        let (rows, more) = rest.split_at(same);
        rest = more;
        copy_alike(tx, table, target, head, rows)?;
    }
    Ok(())
}

/// Inserts rows whose events begin alike.
fn copy_alike(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    head: &[u8],
    rows: &[&[u8]],
) -> Result<(), Failure> {
    let columns: Vec<usize> = columns_of(target, head).ok_or(Apart)?;
    if columns
        .iter()
        .any(|place| target.columns()[*place].generated)
    {
        let rows = rows.iter().map(|row| insert(target, row).ok_or(Apart));
        return copy_rows(tx, table, target, &rows.collect::<Result<Vec<_>, _>>()?);
    }
    let mut copy = begin_copy(tx, table, target, &columns)?;
    for row in rows {
        let mut scanner = Scanner::new(&row[head.len()..]);
        for number in 1..=columns.len() {
            let value = scanner.value().ok_or(Apart)?;
            let last = number == columns.len();
            if !scanner.eat(if last { b")" } else { b"," }) || last && !scanner.is_at_end() {
                return Err(Failure::Apart);
            }
            push(&mut copy, value, if last { b'\n' } else { b'\t' })?;
        }
    }
    copy.finish()?;
    Ok(())
}

/// Places of the columns in the head of an insert.
fn columns_of(target: &Target, head: &[u8]) -> Option<Vec<usize>> {
    let mut names = Scanner::new(head);
    let mut places = Vec::new();
    let mut separator: &[u8] = b"(";
    while names.eat(separator) {
        separator = b",";
        places.push(target.find(names.name()?, places.len())?);
    }
    Some(places)
}
