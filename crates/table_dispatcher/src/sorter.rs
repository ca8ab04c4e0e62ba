//! Rows on their way to the target: sorted by partition and by the columns that they have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use pgq::EventId;
use pgq::batch::EventText;
use pgq::mover::partition::Partitions;
use pgq::mover::row::{Reason, Rows};
use pgq::row::{self, Op};
use skytools::copy;
use skytools::record::Record;

use crate::Config;
use crate::config::PartField;
use crate::fields::Layout;
use crate::label::Labels;

/// Rows of one partition with the same columns go to the target when they have so many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// All rows go to the target when they have so many bytes.
const ALL_BYTES: usize = 16 * 1024 * 1024;

/// A partition that rows of the batch go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The end of its name; empty for the table itself.
    pub(crate) label: String,
    /// Key columns of the first event for it.
    pub(crate) keys: Vec<String>,
    /// Whether it is past its time.
    is_past: bool,
}

/// Columns that rows of the batch have.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Names in the row.
    pub(crate) names: Vec<String>,
    pub(crate) layout: Layout,
    /// Table that the first of these rows comes from.
    pub(crate) source: Option<String>,
}

/// Some rows that go to the same partition, and have the same columns.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) place: Arc<Place>,
    pub(crate) shape: Arc<Shape>,
    /// In the form of COPY.
    pub(crate) rows: Vec<u8>,
    /// Which events they are, in the same order.
    pub(crate) events: Vec<EventId>,
}

/// Where a row waits: place and shape.
type Key = (usize, usize);

/// The rows of one batch.
pub(crate) struct Sorter<'a> {
    config: &'a Config,
    rows: &'a Rows,
    labels: &'a Labels,
    /// Rows for partitions that end before this are not wanted.
    cutoff: Option<&'a str>,
    shapes: Vec<Arc<Shape>>,
    shape: usize,
    places: Vec<Arc<Place>>,
    by_label: HashMap<String, usize>,
    /// The last place, and what its value began with.
    place: Option<(Vec<u8>, usize)>,
    /// Those that have rows, in the order in which the first ones came.
    waiting: Vec<Piece>,
    by_key: HashMap<Key, usize>,
    bytes: usize,
    /// Events that are not wanted.
    skipped: u64,
}

impl<'a> Sorter<'a> {
    pub(crate) fn new(
        config: &'a Config,
        rows: &'a Rows,
        labels: &'a Labels,
        cutoff: Option<&'a str>,
    ) -> Sorter<'a> {
        Sorter {
            config,
            rows,
            labels,
            cutoff,
            shapes: Vec::new(),
            shape: 0,
            places: Vec::new(),
            by_label: HashMap::new(),
            place: None,
            waiting: Vec::new(),
            by_key: HashMap::new(),
            bytes: 0,
            skipped: 0,
        }
    }

    /// Takes the row of an event; returns those that go to the target now.
    ///
    /// # Errors
    /// The event cannot be applied.
    pub(crate) fn put(&mut self, event: &EventText<'_>) -> Result<Vec<Piece>, Reason> {
        let Some(row) = self.read(event)? else {
            self.skipped += 1;
            return Ok(Vec::new());
        };
        let shape = self.shape_of(event, &row)?;
        let place = self.place_of(event, &row)?;
        if self.places[place].is_past {
            self.skipped += 1;
            return Ok(Vec::new());
        }
        let key = (place, shape);
        let at = match self.by_key.get(&key) {
            Some(at) => *at,
            None => {
                self.waiting.push(Piece {
                    place: self.places[place].clone(),
                    shape: self.shapes[shape].clone(),
                    rows: Vec::new(),
                    events: Vec::new(),
                });
                self.by_key.insert(key, self.waiting.len() - 1);
                self.waiting.len() - 1
            }
        };
        let piece = &mut self.waiting[at];
        let before = piece.rows.len();
        let places = piece.shape.layout.places.iter();
        let values = places.map(|place| place.and_then(|place| row.value_at(place)));
        copy::row_of(values, &mut piece.rows);
        piece.events.push(event.id);
        self.bytes += piece.rows.len() - before;
        if piece.rows.len() >= PIECE_BYTES {
            let piece = Piece {
                place: piece.place.clone(),
                shape: piece.shape.clone(),
                rows: std::mem::take(&mut piece.rows),
                events: std::mem::take(&mut piece.events),
            };
            self.bytes -= piece.rows.len();
            return Ok(vec![piece]);
        }
        match self.bytes >= ALL_BYTES {
            true => Ok(self.take_all()),
            false => Ok(Vec::new()),
        }
    }

    /// Takes out all that waits, in the order in which the first of each kind came.
    pub(crate) fn take_all(&mut self) -> Vec<Piece> {
        self.by_key.clear();
        self.bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|piece| !piece.events.is_empty());
        waiting
    }

    /// How many events were not wanted.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The key columns of the first event for any partition.
    pub(crate) fn keys(&self) -> Option<&[String]> {
        self.places.first().map(|place| place.keys.as_slice())
    }

    /// The row of an event; `None` if its operation is not wanted.
    fn read<'e>(&self, event: &'e EventText<'_>) -> Result<Option<Record<'e>>, Reason> {
        let kind = event.kind.as_deref().unwrap_or_default();
        if kind.starts_with(b"{\"") {
            let event = self.rows.read(event.fields())?;
            let letter = match event.op {
                Op::Insert => b'I',
                Op::Update => b'U',
                Op::Delete => b'D',
                Op::Truncate => b'R',
            };
            return Ok(self.is_wanted(letter).then(|| event.into_row()));
        }
        let letter = match kind {
            [letter] | [letter, b':', ..] => *letter,
            _ => b'?',
        };
        if !self.is_wanted(letter) {
            return Ok(None);
        }
        if kind == b"R" {
            return Err(Reason::Truncate);
        }
        let row = self.rows.row(event.data.as_deref())?;
        match row.is_empty() {
            true => Err(row::Error::NoColumns.into()),
            false => Ok(Some(row)),
        }
    }

    fn is_wanted(&self, letter: u8) -> bool {
        let wanted = self.config.event_types.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(&letter))
    }

    /// The columns of a row.
    fn shape_of(&mut self, event: &EventText<'_>, row: &Record<'_>) -> Result<usize, Reason> {
        let is_same = |shape: &Arc<Shape>| {
            let names = shape.names.iter();
            row.len() == shape.names.len()
                && row
                    .iter()
                    .zip(names)
                    .all(|((name, _), known)| name == known.as_bytes())
        };
        if self.shapes.get(self.shape).is_some_and(is_same) {
            return Ok(self.shape);
        }
        if let Some(found) = self.shapes.iter().position(is_same) {
            self.shape = found;
            return Ok(found);
        }
        let mut names = Vec::with_capacity(row.len());
        for (name, _) in row.iter() {
            match std::str::from_utf8(name) {
                Ok("") => return Err(row::Error::EmptyName.into()),
                Ok(name) => names.push(name),
                Err(_) => {
                    let name = String::from_utf8_lossy(name);
                    return Err(Reason::Other(format!(
                        "the name of column {name} is not UTF-8"
                    )));
                }
            }
        }
        let layout = self
            .config
            .fields
            .layout(&names, self.config.missing_field)?;
        let source = event.extra[0].as_deref();
        self.shapes.push(Arc::new(Shape {
            names: names.into_iter().map(str::to_owned).collect(),
            layout,
            source: source.map(|name| String::from_utf8_lossy(name).into_owned()),
        }));
        self.shape = self.shapes.len() - 1;
        Ok(self.shape)
    }

    /// The partition of a row.
    fn place_of(&mut self, event: &EventText<'_>, row: &Record<'_>) -> Result<usize, Reason> {
        let value = match &self.config.part_field {
            None => return Ok(self.place(event, String::new())),
            Some(PartField::EventTime) => event.time.as_bytes(),
            Some(PartField::Column(name)) => match row.get(name) {
                Some(Some(value)) => value,
                Some(None) => {
                    return Err(Reason::Other(format!("no partition: {name} is NULL")));
                }
                None => {
                    return Err(Reason::Other(format!(
                        "no partition: {name} is not in the row"
                    )));
                }
            },
        };
        let significant = self.labels.significant(value);
        if let (Some(letters), Some((known, place))) = (significant, &self.place)
            && letters == known.as_slice()
        {
            return Ok(*place);
        }
        let label = self.labels.of(value)?;
        let place = self.place(event, label);
        self.place = significant.map(|letters| (letters.to_vec(), place));
        Ok(place)
    }

    fn place(&mut self, event: &EventText<'_>, label: String) -> usize {
        if let Some(place) = self.by_label.get(&label) {
            return *place;
        }
        let is_past = |cutoff: &str| Partitions::is_past(&label, cutoff);
        self.places.push(Arc::new(Place {
            is_past: self.cutoff.is_some_and(is_past),
            keys: self.keys_of(event),
            label: label.clone(),
        }));
        self.by_label.insert(label, self.places.len() - 1);
        self.places.len() - 1
    }

    /// What the target calls the key columns of an event.
    fn keys_of(&self, event: &EventText<'_>) -> Vec<String> {
        let kind = event.kind.as_deref().unwrap_or_default();
        let list = match kind.iter().position(|&byte| byte == b':') {
            Some(at) if !kind.starts_with(b"{") => &kind[at + 1..],
            _ => return Vec::new(),
        };
        let list = String::from_utf8_lossy(list);
        let names = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let target = |name| Some(self.config.fields.target_of(name)?.to_owned());
        names.filter_map(target).collect()
    }
}

/// The event with text of its own.
pub(crate) fn owned(event: &EventText<'_>) -> EventText<'static> {
    let owned = |text: &Option<Cow<'_, [u8]>>| Some(Cow::Owned(text.as_ref()?.to_vec()));
    EventText {
        id: event.id,
        time: Cow::Owned(event.time.clone().into_owned()),
        kind: owned(&event.kind),
        data: owned(&event.data),
        extra: event.extra.each_ref().map(owned),
    }
}
