//! The changed rows of one table, in memory.

use std::collections::HashMap;

use crate::merge::{At, Change, Image, Op, Outcome, SetId};
use crate::sets::Sets;

/// Memory that a row takes beside its texts, about: itself, its place in the map, and what the allocator
/// adds to two texts.
const ROW_BYTES: usize = size_of::<Change>() + 2 * size_of::<(Box<[u8]>, u32)>() + 32;

/// Changed rows by their keys.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) sets: Sets,
    changes: Vec<Change>,
    /// Places of the changes by the fields of the key.
    places: HashMap<Box<[u8]>, u32>,
    /// Rows that no other event can be about: without a key, or with a null in it.
    lone: Vec<(Box<[u8]>, Change)>,
    /// Some key may have another text as well.
    inexact: bool,
    /// There are more than inserts.
    mixed: bool,
    next: At,
    bytes: usize,
}

/// How the key of an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// No other text means the same.
    Exact,
    /// Others may.
    Inexact,
    /// It equals none, not even itself.
    Lone,
}

/// The change of one row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Box<[u8]>,
    pub(crate) change: Change,
}

impl Changes {
    /// Takes an event.
    pub(crate) fn add(&mut self, op: Op, key: &[u8], written: Key, values: Option<(SetId, &[u8])>) {
        let at = self.next;
        self.next += 1;
        self.mixed |= op != Op::Insert;
        self.inexact |= written == Key::Inexact;
        if written == Key::Lone {
            let change = Change::new(op, at, values);
            self.bytes += ROW_BYTES + key.len() + change.size();
            self.lone.push((key.into(), change));
            return;
        }
        if let Some(place) = self.places.get(key) {
            let change = &mut self.changes[usize_of(*place)];
            let old = change.size();
            let sets = &self.sets;
            change.add(op, at, values, |old, new| sets.covers(old, new));
            self.bytes = self.bytes + change.size() - old;
            return;
        }
        let place = u32::try_from(self.changes.len()).expect("rows that fit into memory");
        let change = Change::new(op, at, values);
        self.bytes += ROW_BYTES + key.len() + change.size();
        self.changes.push(change);
        self.places.insert(key.into(), place);
    }

    /// Has the row with these values, columns by their places, leave its key.
    pub(crate) fn leave(&mut self, key: &[u8], written: Key, columns: &[(usize, Vec<u8>)]) {
        if let Some(place) = self.places.get(key) {
            let (change, sets) = (&mut self.changes[usize_of(*place)], &self.sets);
            if change.displace(|image| sets.differs(image, columns)) {
                self.mixed = true;
                return;
            }
        }
        self.add(Op::Delete, key, written, None);
    }

    /// Memory that all of it takes, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes
    }

    /// Whether no event was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether the server has to say which keys are the same.
    pub(crate) fn may_have_twins(&self) -> bool {
        self.inexact && self.mixed && self.changes.len() > 1
    }

    /// The rows with a key, in the order of their first events; the place of each is its number.
    pub(crate) fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = vec![&[]; self.changes.len()];
        for (key, place) in &self.places {
            keys[usize_of(*place)] = key;
        }
        keys
    }

    /// Takes all rows out, in the order of their first events but for the lone ones, which come last.
    /// `twins` are the numbers of rows that are one.
    pub(crate) fn take(&mut self, twins: &[Vec<u32>]) -> Vec<Row> {
        let changes = std::mem::take(&mut self.changes);
        let mut rows: Vec<Option<Row>> = changes
            .into_iter()
            .map(|change| {
                Some(Row {
                    key: Box::default(),
                    change,
                })
            })
            .collect();
        for (key, place) in self.places.drain() {
            if let Some(row) = &mut rows[usize_of(place)] {
                row.key = key;
            }
        }
        for twins in twins {
            let Some(first) = twins.first() else { continue };
            let all: Vec<Row> = (twins.iter())
                .filter_map(|place| rows[usize_of(*place)].take())
                .collect();
            rows[usize_of(*first)] = merge(all);
        }
        let lone = std::mem::take(&mut self.lone).into_iter();
        let lone = lone.map(|(key, change)| Row { key, change });
        let rows = rows.into_iter().flatten().chain(lone).collect();
        *self = Changes {
            sets: std::mem::take(&mut self.sets),
            ..Changes::default()
        };
        rows
    }
}

/// One row of several; its key is written as the last event has it.
fn merge(twins: Vec<Row>) -> Option<Row> {
    let mut key: Option<(At, Box<[u8]>)> = None;
    let mut changes = Vec::with_capacity(twins.len());
    for twin in twins {
        let newest = twin.change.newest();
        if key.as_ref().is_none_or(|(at, _)| *at < newest) {
            key = Some((newest, twin.key));
        }
        changes.push(twin.change);
    }
    let (_, key) = key?;
    Some(Row {
        key,
        change: Change::merge(changes)?,
    })
}

fn usize_of(place: u32) -> usize {
    usize::try_from(place).expect("32 bits fit")
}

/// Fields of COPY of the key, and those of the other columns.
pub(crate) type Line = (Box<[u8]>, Box<[u8]>);

/// Rows with the same thing to be done about the same columns.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) set: SetId,
    pub(crate) rows: Vec<Line>,
}

/// What is to be done about the rows of a table.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) deletes: Vec<Box<[u8]>>,
    pub(crate) updates: Vec<Group>,
    /// Updates of rows that need not be there.
    pub(crate) attempts: Vec<Group>,
    pub(crate) inserts: Vec<Group>,
}

impl Net {
    /// Sorts rows by what is to be done.
    pub(crate) fn of(rows: Vec<Row>, sets: &mut Sets) -> Net {
        let mut net = Net::default();
        for row in rows {
            let groups = match row.change.outcome() {
                Outcome::Nothing => continue,
                Outcome::Delete => {
                    net.deletes.push(row.key);
                    continue;
                }
                Outcome::Update => &mut net.updates,
                Outcome::UpdateIfThere => &mut net.attempts,
                Outcome::Insert => &mut net.inserts,
            };
            let images: Vec<Image> = row.change.into_images().collect();
            let values = match <[Image; 1]>::try_from(images) {
                Ok([image]) => Some((image.set, image.fields)),
                Err(images) => sets.overlay(&images),
            };
            let Some((set, fields)) = values else {
                continue;
            };
            match groups.iter_mut().find(|group| group.set == set) {
                Some(group) => group.rows.push((row.key, fields)),
                None => groups.push(Group {
                    set,
                    rows: vec![(row.key, fields)],
                }),
            }
        }
        net
    }
}

/// Adds up the rows of groups.
pub(crate) fn count(groups: &[Group]) -> u64 {
    groups.iter().map(|group| group.rows.len() as u64).sum()
}
