//! Statements that change many rows at once: made from what a run of events comes to, and run later.

use std::cmp::Ordering;

use postgres::types::{ToSql, Type};
use skytools::copy_in;
use skytools::db::{DbError, During, TextValue, Tx};
use skytools::shape::Exact;

use super::class::Target;
use super::literal::{Scanner, Value};
use super::plan::{Apart, Net, Row, Update, insert};

/// Rows of one statement.
const ROWS: usize = 50_000;

/// Bytes of values in one statement, about.
const BYTES: usize = 32 * 1024 * 1024;

/// Of as many keys as one in so many of the numbers from the first to the last, the rows are found by reading all
/// that are between.
const SPREAD: i64 = 2;

/// How the server is to find rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it likes: users' functions may run.
    Cost,
    /// Each by its key, however many there are in the table: nothing is known about the values that are joined,
    /// and a plan that reads the whole table would be taken time and again.
    Keys,
    /// All between two keys, which are few enough; but by the index, whatever old statistics say.
    Range,
}

impl Way {
    fn settings(self) -> &'static str {
        match self {
            Way::Cost => {
                "set local enable_hashjoin to default; set local enable_mergejoin to default; \
                 set local enable_seqscan to default"
            }
            Way::Keys => {
                "set local enable_hashjoin = off; set local enable_mergejoin = off; \
                 set local enable_seqscan to default"
            }
            Way::Range => {
                "set local enable_hashjoin to default; set local enable_mergejoin to default; \
                 set local enable_seqscan = off"
            }
        }
    }
}

/// Why rows were not changed at once.
#[derive(Debug)]
pub(super) enum Failure {
    Db(DbError),
    /// Not as many rows were there as there should have been.
    Missing,
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Failure {
        Failure::Db(error)
    }
}

/// What a run of events comes to, as the server takes it. Nothing in it is the events' memory.
#[derive(Debug, Default)]
pub(super) struct Statements(Vec<Statement>);

#[derive(Debug)]
enum Statement {
    /// Deletes or updates so many rows.
    Keyed {
        sql: String,
        arrays: Arrays,
        rows: usize,
        way: Way,
    },
    /// A COPY and its rows.
    Copy { sql: String, rows: Vec<u8> },
}

impl Statements {
    /// Adds what changes the rows of a table.
    pub(super) fn add(&mut self, table: &str, target: &Target, net: &Net<'_>) -> Result<(), Apart> {
        // In the order of the index, what is near is found near.
        let mut deletes: Vec<&Row<'_>> = net.deletes.iter().collect();
        deletes.sort_by(|a, b| by_key(target, a, b));
        let deletes = portions(&deletes, |key| key).map(|keys| delete(table, target, keys));
        self.0.extend(deletes);
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
            let updates = portions(updates, |update| &update.1);
            let updates = updates.map(|updates| update(table, target, columns, updates));
            self.0.extend(updates);
        }
        self.copy_rows(table, target, &net.inserts)?;
        self.copy_plain(table, target, &net.plain_inserts)
    }

    /// Runs them; with `exact`, all rows have to be there.
    pub(super) fn run(self, tx: &mut Tx<'_>, exact: bool) -> Result<(), Failure> {
        let mut now = Way::Cost;
        let mut take = |tx: &mut Tx<'_>, way: Way| {
            if way == now {
                return Ok(());
            }
            now = way;
            tx.batch_execute(way.settings())
                .during("choose how to find rows")
        };
        for statement in self.0 {
            match statement {
                Statement::Keyed {
                    sql,
                    arrays,
                    rows,
                    way,
                } => {
                    take(tx, way)?;
                    let touched = arrays.execute(tx, &sql)?;
                    if exact && usize::try_from(touched) != Ok(rows) {
                        return Err(Failure::Missing);
                    }
                }
                Statement::Copy { sql, rows } => {
                    take(tx, Way::Cost)?;
                    copy_in::send(tx, &sql, &rows, "insert events at once")?;
                }
            }
        }
        Ok(take(tx, Way::Cost)?)
    }

    fn copy_rows(&mut self, table: &str, target: &Target, rows: &[Row<'_>]) -> Result<(), Apart> {
        let columns = |row: &Row<'_>| row.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        for rows in rows.chunk_by(same_columns) {
            let columns = columns(&rows[0]);
            if columns.is_empty() {
                return Err(Apart);
            }
            let mut text = Vec::new();
            for row in rows {
                for (number, (_, value)) in row.iter().enumerate() {
                    value.push_copy(&mut text);
                    text.push(end_of_field(number + 1 == row.len()));
                }
            }
            self.0.push(copy(table, target, &columns, text));
        }
        Ok(())
    }

    /// As [`Statements::copy_rows`], straight from partial SQL.
    fn copy_plain(&mut self, table: &str, target: &Target, rows: &[&[u8]]) -> Result<(), Apart> {
        let mut rest = rows;
        while let [first, ..] = rest {
            let head = Scanner::new(first).insert_head().ok_or(Apart)?;
            let same = rest.iter().take_while(|row| row.starts_with(head)).count();
            let (rows, more) = rest.split_at(same);
            rest = more;
            self.copy_alike(table, target, head, rows)?;
        }
        Ok(())
    }

    /// Inserts rows whose events begin alike.
    fn copy_alike(
        &mut self,
        table: &str,
        target: &Target,
        head: &[u8],
        rows: &[&[u8]],
    ) -> Result<(), Apart> {
        let columns: Vec<usize> = columns_of(target, head).ok_or(Apart)?;
        if columns
            .iter()
            .any(|place| target.columns()[*place].generated)
        {
            let rows = rows.iter().map(|row| insert(target, row).ok_or(Apart));
            return self.copy_rows(table, target, &rows.collect::<Result<Vec<_>, _>>()?);
        }
        let mut text = Vec::new();
        for row in rows {
            let mut scanner = Scanner::new(&row[head.len()..]);
            for number in 1..=columns.len() {
                let value = scanner.value().ok_or(Apart)?;
                let last = number == columns.len();
                if !scanner.eat(if last { b")" } else { b"," }) || last && !scanner.is_at_end() {
                    return Err(Apart);
                }
                value.push_copy(&mut text);
                text.push(end_of_field(last));
            }
        }
        self.0.push(copy(table, target, &columns, text));
        Ok(())
    }
}

/// Where a key stands in the index, beside another.
fn by_key(target: &Target, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let columns = a.iter().zip(b).map(|((place, a), (_, b))| {
        let (a, b) = (a.inside(), b.inside());
        target.columns()[*place].order(a.unwrap_or_default(), b.unwrap_or_default())
    });
    columns.fold(Ordering::Equal, Ordering::then)
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
#[derive(Debug)]
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

/// Where values come from: `(select unnest($1::int4[]) as k0,…) as v`.
fn source(target: &Target, key: &[usize], set: &[usize]) -> String {
    let keys = (key.iter().enumerate()).map(|(number, place)| (place, 'k', number));
    let sets = (set.iter().enumerate()).map(|(number, place)| (place, 's', number));
    let columns: Vec<String> = (keys.chain(sets).enumerate())
        .map(|(parameter, (place, letter, number))| {
            let of_type = &target.columns()[*place].type_name;
            format!(
                "unnest(${}::{of_type}[]) as {letter}{number}",
                parameter + 1
            )
        })
        .collect();
    format!("(select {}) as v", columns.join(","))
}

/// Which rows are meant, by their keys, which are in order; and how to find them.
fn rows_of<'r, 'c: 'r>(
    target: &Target,
    keys: impl ExactSizeIterator<Item = &'r Row<'c>> + DoubleEndedIterator + Clone,
) -> (String, Way) {
    let first = keys.clone().next().map_or(&[][..], Vec::as_slice);
    let comparisons: Vec<String> = (first.iter().enumerate())
        .map(|(number, (place, _))| format!("t.{} = v.k{number}", name(target, *place)))
        .collect();
    let condition = comparisons.join(" and ");
    match range(target, keys) {
        Some((place, from, to)) => {
            let name = name(target, place);
            let condition = format!("{condition} and t.{name} between {from} and {to}");
            (condition, Way::Range)
        }
        None => (condition, Way::Keys),
    }
}

/// The first and the last of keys that are numbers, if there cannot be many more rows between them.
fn range<'r, 'c: 'r>(
    target: &Target,
    mut keys: impl ExactSizeIterator<Item = &'r Row<'c>> + DoubleEndedIterator,
) -> Option<(usize, i64, i64)> {
    let rows = i64::try_from(keys.len()).ok()?;
    let number = |key: &Row<'_>| match key[..] {
        [(place, value)] if target.columns()[place].exact == Exact::Integer => {
            let text = std::str::from_utf8(value.inside()?).ok()?;
            Some((place, text.parse().ok()?))
        }
        _ => None,
    };
    let (place, from): (usize, i64) = number(keys.next()?)?;
    let (_, to) = number(keys.next_back()?)?;
    (to.checked_sub(from)? < rows.checked_mul(SPREAD)?).then_some((place, from, to))
}

fn name(target: &Target, place: usize) -> String {
    String::from_utf8_lossy(target.spelled(place)).into_owned()
}

fn delete(table: &str, target: &Target, keys: &[&Row<'_>]) -> Statement {
    let key: Vec<usize> = keys[0].iter().map(|(place, _)| *place).collect();
    let mut arrays = Arrays::new(key.len());
    for row in keys {
        for (column, (_, value)) in row.iter().enumerate() {
            arrays.push(column, *value);
        }
    }
    let source = source(target, &key, &[]);
    let (condition, way) = rows_of(target, keys.iter().copied());
    Statement::Keyed {
        sql: format!("delete from only {table} as t using {source} where {condition}"),
        arrays,
        rows: keys.len(),
        way,
    }
}

fn update(table: &str, target: &Target, columns: &[usize], updates: &[&Update<'_>]) -> Statement {
    let key: Vec<usize> = updates[0].0.iter().map(|(place, _)| *place).collect();
    let mut arrays = Arrays::new(key.len() + columns.len());
    for (keys, set) in updates {
        for (column, (_, value)) in keys.iter().chain(set).enumerate() {
            arrays.push(column, *value);
        }
    }
    let source = source(target, &key, columns);
    let (condition, way) = rows_of(target, updates.iter().map(|(key, _)| key));
    let assignments: Vec<String> = (columns.iter().enumerate())
        .map(|(number, place)| format!("{} = v.s{number}", name(target, *place)))
        .collect();
    let set = assignments.join(",");
    Statement::Keyed {
        sql: format!("update only {table} as t set {set} from {source} where {condition}"),
        arrays,
        rows: updates.len(),
        way,
    }
}

fn copy(table: &str, target: &Target, columns: &[usize], rows: Vec<u8>) -> Statement {
    let names: Vec<String> = columns.iter().map(|place| name(target, *place)).collect();
    Statement::Copy {
        sql: format!("copy {table} ({}) from stdin", names.join(",")),
        rows,
    }
}

fn end_of_field(last: bool) -> u8 {
    if last { b'\n' } else { b'\t' }
}

fn same_columns(a: &Row<'_>, b: &Row<'_>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How rows with these keys are found.
    fn way(keys: &[&'static str], exact: Exact) -> (String, Way) {
        let mut target = Target::of_columns(&["id"], &[], &[]);
        target.set_exact(0, exact);
        let keys = keys
            .iter()
            .map(|key| vec![(0, Value::Plain(key.as_bytes()))]);
        let keys: Vec<Row<'_>> = keys.collect();
        rows_of(&target, keys.iter())
    }

    #[test]
    fn keys_that_lie_close_together_are_a_range() {
        let range = |keys: &[&'static str]| way(keys, Exact::Integer);
        let condition = "t.id = v.k0 and t.id between -1 and 3".to_owned();
        assert_eq!(range(&["-1", "0", "3"]), (condition, Way::Range));
        let condition = "t.id = v.k0".to_owned();
        let apart = (condition, Way::Keys);
        assert_eq!(range(&["-1", "0", "5"]), apart);
        assert_eq!(
            range(&["-9223372036854775808", "9223372036854775807"]),
            apart
        );
        assert_eq!(way(&["1", "2"], Exact::Text), apart);
    }
}
