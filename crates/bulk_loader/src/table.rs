//! A table of the target, and the events that are on their way to it.

use pgq::EventId;
use pgq::mover::drift::Drift;
use skytools::record::Record;
use skytools::shape::Shape;
use skytools::table::TableName;

use crate::changes::{Changes, Key};
use crate::config::NullKeys;
use crate::merge::{Op, SetId};
use crate::sets::push_fields;
use crate::{Config, Error};

/// A row event, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Event<'e> {
    pub(crate) id: EventId,
    /// The table that it names.
    pub(crate) source: &'e str,
    pub(crate) op: Op,
    /// The key, in the order of its list.
    pub(crate) keys: Record<'e>,
    /// The other columns.
    pub(crate) values: Record<'e>,
}

/// A table of the target.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) quoted: String,
    pub(crate) shape: Shape,
    /// Columns that distribute its rows over a cluster, by their places.
    pub(crate) distribution: Vec<usize>,
    /// For each column the operator that says that two values of it are equal, as SQL.
    pub(crate) equals: Vec<String>,
    /// Names of the columns of the key, as in the last event.
    key_names: Vec<Vec<u8>>,
    /// Their places.
    pub(crate) key: Vec<usize>,
    pub(crate) changes: Changes,
    /// Some row has a null in its key.
    pub(crate) null_keys: bool,
    layouts: Vec<Layout>,
    /// The layout of the last event.
    layout: usize,
    /// The temporary table, if there is one in this transaction, and whether it holds rows.
    pub(crate) temporary: Option<(String, bool)>,
    /// Columns that were left out.
    pub(crate) ignored: Vec<String>,
}

/// Where the values of an event go.
#[derive(Debug)]
struct Layout {
    names: Vec<Vec<u8>>,
    /// For each column that is written the number of its value.
    values: Vec<usize>,
    set: SetId,
}

/// Keys and values as fields of COPY.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    key: Vec<u8>,
    fields: Vec<u8>,
}

impl Table {
    pub(crate) fn new(
        name: TableName,
        shape: Shape,
        distribution: Vec<usize>,
        equals: Vec<String>,
    ) -> Table {
        Table {
            quoted: name.quoted(),
            name,
            shape,
            distribution,
            equals,
            key_names: Vec::new(),
            key: Vec::new(),
            changes: Changes::default(),
            null_keys: false,
            layouts: Vec::new(),
            layout: 0,
            temporary: None,
            ignored: Vec::new(),
        }
    }

    /// Names of the columns at these places, as SQL, with commas.
    pub(crate) fn columns(&self, places: &[usize]) -> String {
        let names: Vec<String> = places
            .iter()
            .map(|place| self.shape.columns[*place].quoted())
            .collect();
        names.join(", ")
    }

    /// Name of a column of numbers beside those of the table, as SQL.
    pub(crate) fn number_column(&self) -> String {
        let mut name = "n".to_owned();
        while self.shape.place(name.as_bytes()).is_some() {
            name.push('_');
        }
        name
    }

    /// Whether the event has the same key as those before it.
    pub(crate) fn has_key(&self, keys: &Record<'_>) -> bool {
        self.key_names.len() == keys.len()
            && (self.key_names.iter().zip(keys.iter())).all(|(known, (name, _))| known == name)
    }

    /// Takes over the key of an event; those before it must have been applied.
    ///
    /// # Errors
    /// The name of a column that the table does not have.
    pub(crate) fn set_key(&mut self, keys: &Record<'_>) -> Result<(), String> {
        self.key = keys
            .iter()
            .map(|(name, _)| {
                let place = self.shape.place(name);
                place.ok_or_else(|| String::from_utf8_lossy(name).into_owned())
            })
            .collect::<Result<_, _>>()?;
        self.key_names = keys.iter().map(|(name, _)| name.to_vec()).collect();
        self.layouts.clear();
        Ok(())
    }

    fn no_column(&self, event: EventId, name: &[u8]) -> Error {
        Error::NoColumn {
            event,
            table: self.name.clone(),
            column: String::from_utf8_lossy(name).into_owned(),
        }
    }

    /// Takes an event with the present key.
    pub(crate) fn add(
        &mut self,
        event: &Event<'_>,
        config: &Config,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        scratch.key.clear();
        push_fields(event.keys.iter().map(|(_, value)| value), &mut scratch.key);
        let written = self.written(&event.keys, config.null_keys);
        self.null_keys |= event.keys.iter().any(|(_, value)| value.is_none());
        if event.op == Op::Delete {
            self.changes.add(event.op, &scratch.key, written, None);
            return Ok(());
        }
        self.layout = self.layout_of(event, config.drift)?;
        let layout = &self.layouts[self.layout];
        let values: Vec<Option<&[u8]>> = event.values.iter().map(|(_, value)| value).collect();
        scratch.fields.clear();
        push_fields(
            layout.values.iter().map(|number| values[*number]),
            &mut scratch.fields,
        );
        let image = (layout.set, scratch.fields.as_slice());
        self.changes
            .add(event.op, &scratch.key, written, Some(image));
        Ok(())
    }

    /// Has a row leave its key, for another one; `event` has the row before.
    pub(crate) fn leave(&mut self, event: &Event<'_>, config: &Config, scratch: &mut Scratch) {
        scratch.key.clear();
        push_fields(event.keys.iter().map(|(_, value)| value), &mut scratch.key);
        let written = self.written(&event.keys, config.null_keys);
        self.null_keys |= event.keys.iter().any(|(_, value)| value.is_none());
        let column = |(name, value): (&[u8], Option<&[u8]>)| {
            let mut field = Vec::new();
            push_fields([value], &mut field);
            Some((self.shape.place(name)?, field))
        };
        let columns: Vec<(usize, Vec<u8>)> = event.values.iter().filter_map(column).collect();
        self.changes.leave(&scratch.key, written, &columns);
    }

    /// How the key of an event is written.
    fn written(&self, keys: &Record<'_>, nulls: NullKeys) -> Key {
        if keys.is_empty() {
            return Key::Lone;
        }
        let mut written = Key::Exact;
        for ((_, value), place) in keys.iter().zip(&self.key) {
            match value {
                None if nulls == NullKeys::Distinct => return Key::Lone,
                Some(text) if !self.shape.columns[*place].is_exact(text) => {
                    written = Key::Inexact;
                }
                _ => {}
            }
        }
        written
    }

    /// The layout of an event's values; most have that of the one before.
    fn layout_of(&mut self, event: &Event<'_>, drift: Drift) -> Result<usize, Error> {
        let same = |layout: &Layout| {
            layout.names.len() == event.values.len()
                && (layout.names.iter().zip(event.values.iter()))
                    .all(|(known, (name, _))| known == name)
        };
        if self.layouts.get(self.layout).is_some_and(same) {
            return Ok(self.layout);
        }
        if let Some(known) = self.layouts.iter().position(same) {
            return Ok(known);
        }
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut unknown: Vec<String> = Vec::new();
        for (number, (name, _)) in event.values.iter().enumerate() {
            match self.shape.place(name) {
                Some(place) if self.shape.columns[place].generated => {}
                Some(place) => places.push((place, number)),
                None if drift == Drift::Fail => return Err(self.no_column(event.id, name)),
                None => unknown.push(String::from_utf8_lossy(name).into_owned()),
            }
        }
        if drift == Drift::Add && !unknown.is_empty() {
            return Err(Error::NewColumns {
                source_table: TableName::parse(event.source),
                target: self.name.clone(),
                columns: unknown,
            });
        }
        self.ignored.extend(unknown);
        places.sort_unstable();
        let columns: Vec<usize> = places.iter().map(|(place, _)| *place).collect();
        self.layouts.push(Layout {
            names: event.values.iter().map(|(name, _)| name.to_vec()).collect(),
            values: places.iter().map(|(_, number)| *number).collect(),
            set: self.changes.sets.id(&columns),
        });
        Ok(self.layouts.len() - 1)
    }
}
