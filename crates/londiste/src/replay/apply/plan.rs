//! What a run of events comes to, table by table and row by row.
//!
//! Only tables that nothing else looks at while they are written are here, see [`Class`](super::class::Class): then
//! neither the order among tables nor what a row was in between can be seen.

use std::borrow::Cow;
use std::collections::HashMap;

use super::class::Target;
use super::literal::{Scanner, Value};

/// Columns and their values, by the columns' places.
pub(super) type Row<'c> = Vec<(usize, Value<'c>)>;

/// The key of a row, and what is set.
pub(super) type Update<'c> = (Row<'c>, Row<'c>);

/// An event that cannot be part of a plan; it has to be applied by itself, in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart;

/// A change of a row.
#[derive(Debug, Clone)]
enum Change<'c> {
    Insert(&'c [u8]),
    /// The key, and what is set.
    Update(Row<'c>, Row<'c>),
    Delete(Row<'c>),
}

/// The changes of one table, in their order.
#[derive(Debug, Default)]
pub(super) struct Changes<'c> {
    list: Vec<Change<'c>>,
    /// There is more than inserts.
    mixed: bool,
}

/// What is done to a table.
#[derive(Debug, Default)]
pub(super) struct Net<'c> {
    /// Keys of rows to be deleted, before anything else.
    pub(super) deletes: Vec<Row<'c>>,
    pub(super) updates: Vec<Update<'c>>,
    /// Whole rows, after all else.
    pub(super) inserts: Vec<Row<'c>>,
    /// Rows in partial SQL, when there is nothing else.
    pub(super) plain_inserts: Vec<&'c [u8]>,
}

impl<'c> Changes<'c> {
    /// Takes the event `kind` of a table in partial SQL.
    pub(super) fn add(&mut self, target: &Target, kind: u8, data: &'c [u8]) -> Result<(), Apart> {
        let change = match kind {
            b'I' => Change::Insert(data),
            b'U' => {
                let (key, set) = update(target, data).ok_or(Apart)?;
                Change::Update(key, set)
            }
            b'D' => Change::Delete(delete(target, data).ok_or(Apart)?),
            _ => return Err(Apart),
        };
        self.mixed |= kind != b'I';
        self.list.push(change);
        Ok(())
    }

    /// Merges the changes of each row into one.
    pub(super) fn net(self, target: &Target) -> Result<Net<'c>, Apart> {
        let mut net = Net::default();
        if !self.mixed {
            let inserts = self.list.into_iter().map(|change| match change {
                Change::Insert(data) => Ok(data),
                _ => Err(Apart),
            });
            net.plain_inserts = inserts.collect::<Result<_, _>>()?;
            return Ok(net);
        }
        let key = target.key().ok_or(Apart)?;
        let mut rows: Vec<State<'c>> = Vec::with_capacity(self.list.len());
        let mut places: HashMap<Cow<'c, [u8]>, usize> = HashMap::with_capacity(self.list.len());
        for change in self.list {
            let change = match change {
                Change::Insert(data) => {
                    let row = insert(target, data).ok_or(Apart)?;
                    if target.fills_in(&row) {
                        return Err(Apart);
                    }
                    State::insert(target, key, row)?
                }
                Change::Update(key, set) => State::update(key, set),
                Change::Delete(key) => State::delete(key),
            };
            match places.entry(identity(&change.key)) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(rows.len());
                    rows.push(change);
                }
                std::collections::hash_map::Entry::Occupied(place) => {
                    rows[*place.get()].then(change)?;
                }
            }
        }
        for row in rows {
            if row.deleted {
                net.deletes.push(row.key.clone());
            }
            match row.now {
                Now::Gone => {}
                Now::Changed(set) if set.is_empty() => {}
                Now::Changed(set) => net.updates.push((row.key, set)),
                Now::New(row) => net.inserts.push(row),
            }
        }
        Ok(net)
    }
}

/// What a row is at the end.
#[derive(Debug)]
struct State<'c> {
    key: Row<'c>,
    /// The row that was there is deleted first.
    deleted: bool,
    now: Now<'c>,
}

#[derive(Debug)]
enum Now<'c> {
    /// There is no row that came with these events.
    Gone,
    /// The row that was there has these columns set.
    Changed(Row<'c>),
    New(Row<'c>),
}

impl<'c> State<'c> {
    fn insert(target: &Target, key: &[usize], row: Row<'c>) -> Result<State<'c>, Apart> {
        let mut values = Vec::with_capacity(key.len());
        for place in key {
            let (_, value) = row.iter().find(|(other, _)| other == place).ok_or(Apart)?;
            let text = value.inside().ok_or(Apart)?;
            if !target.columns()[*place].is_exact(text) {
                return Err(Apart);
            }
            values.push((*place, *value));
        }
        values.sort_unstable_by_key(|(place, _)| *place);
        Ok(State {
            key: values,
            deleted: false,
            now: Now::New(row),
        })
    }

    fn update(key: Row<'c>, set: Row<'c>) -> State<'c> {
        State {
            key,
            deleted: false,
            now: Now::Changed(set),
        }
    }

    fn delete(key: Row<'c>) -> State<'c> {
        State {
            key,
            deleted: true,
            now: Now::Gone,
        }
    }

    /// Applies another change of the same row.
    fn then(&mut self, next: State<'c>) -> Result<(), Apart> {
        match (std::mem::replace(&mut self.now, Now::Gone), next.now) {
            // The row is there still: the insert fails.
            (Now::New(_) | Now::Changed(_), Now::New(_)) => return Err(Apart),
            (Now::Gone, Now::New(row)) => self.now = Now::New(row),
            // It touches nothing.
            (Now::Gone, Now::Changed(_) | Now::Gone) => {}
            (Now::Changed(mut set), Now::Changed(more)) => {
                merge(&mut set, more, false)?;
                self.now = Now::Changed(set);
            }
            (Now::New(mut row), Now::Changed(more)) => {
                merge(&mut row, more, true)?;
                self.now = Now::New(row);
            }
            (Now::New(_), Now::Gone) => {}
            (Now::Changed(_), Now::Gone) => self.deleted = true,
        }
        Ok(())
    }
}

/// Sets columns of a row; a `whole` one has all that it can have.
fn merge<'c>(row: &mut Row<'c>, set: Row<'c>, whole: bool) -> Result<(), Apart> {
    for (place, value) in set {
        match row.iter_mut().find(|(other, _)| *other == place) {
            Some((_, old)) => *old = value,
            // The row was captured when the table did not have the column yet.
            None if whole => return Err(Apart),
            None => row.push((place, value)),
        }
    }
    if !whole {
        row.sort_unstable_by_key(|(place, _)| *place);
    }
    Ok(())
}

/// Text that is the same for the same key only.
fn identity<'c>(key: &Row<'c>) -> Cow<'c, [u8]> {
    let inside = |value: Value<'c>| value.inside().unwrap_or_default();
    match key[..] {
        [(_, value)] => Cow::Borrowed(inside(value)),
        _ => {
            let mut text = Vec::new();
            for (_, value) in key {
                let value = inside(*value);
                text.extend_from_slice(&value.len().to_ne_bytes());
                text.extend_from_slice(value);
            }
            Cow::Owned(text)
        }
    }
}

/// `(c1,c2) values ('v1',null)`: the columns that can be written, and their values.
pub(super) fn insert<'c>(target: &Target, data: &'c [u8]) -> Option<Row<'c>> {
    let mut scanner = Scanner::new(data);
    let mut names = Scanner::new(scanner.insert_head()?);
    let mut row = Row::new();
    let mut separator: &[u8] = b"(";
    while names.eat(separator) {
        let place = target.find(names.name()?, row.len())?;
        if separator == b"," && !scanner.eat(b",") {
            return None;
        }
        separator = b",";
        let value = scanner.value()?;
        if !target.columns()[place].generated {
            row.push((place, value));
        }
    }
    (scanner.eat(b")") && scanner.is_at_end()).then_some(row)
}

/// `c1='v1',c2=NULL where k1='v1' and k2='v2'`: the key, and what changes beside it.
///
/// `None` as well if the key changes, or a column that something else depends on.
fn update<'c>(target: &Target, data: &'c [u8]) -> Option<Update<'c>> {
    let mut scanner = Scanner::new(data);
    let mut set = Row::new();
    loop {
        let (place, value) = pair(&mut scanner, target, set.len())?;
        set.push((place, value));
        if !scanner.eat(b",") {
            break;
        }
    }
    if !scanner.eat(b" where ") {
        return None;
    }
    let key = condition(&mut scanner, target)?;
    let mut changed = Row::with_capacity(set.len());
    for (place, value) in set {
        if let Some((_, old)) = key.iter().find(|(other, _)| *other == place) {
            if *old != value {
                return None;
            }
            continue;
        }
        let column = &target.columns()[place];
        if column.generated {
            continue;
        }
        if column.identity || !column.listable || target.is_unique_elsewhere(place) {
            return None;
        }
        changed.push((place, value));
    }
    // Updates of the same columns go together.
    if !changed.is_sorted_by_key(|(place, _)| *place) {
        changed.sort_unstable_by_key(|(place, _)| *place);
    }
    Some((key, changed))
}

/// `k1='v1' and k2='v2'`: the key.
fn delete<'c>(target: &Target, data: &'c [u8]) -> Option<Row<'c>> {
    condition(&mut Scanner::new(data), target)
}

/// A condition up to the end of the text, if it is on the table's key; in order of the columns.
fn condition<'c>(scanner: &mut Scanner<'c>, target: &Target) -> Option<Row<'c>> {
    let mut key = Row::with_capacity(1);
    loop {
        let (place, value) = pair(scanner, target, key.len())?;
        if !target.columns()[place].is_exact(value.inside()?) {
            return None;
        }
        key.push((place, value));
        if !scanner.eat(b" and ") {
            break;
        }
    }
    if !scanner.is_at_end() {
        return None;
    }
    let wanted = target.key()?;
    let same = key.len() == wanted.len() && key.iter().all(|(place, _)| wanted.contains(place));
    if !same {
        return None;
    }
    key.sort_unstable_by_key(|(place, _)| *place);
    Some(key)
}

fn pair<'c>(scanner: &mut Scanner<'c>, target: &Target, hint: usize) -> Option<(usize, Value<'c>)> {
    let name = scanner.name()?;
    let place = target.find(name, hint)?;
    if !scanner.eat(b"=") {
        return None;
    }
    Some((place, scanner.value()?))
}
