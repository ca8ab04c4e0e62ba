//! Rows on their way to the target: sorted by partition and by the columns that they have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use pgq::EventId;
use pgq::batch::EventText;
use pgq::mover::partition::Partitions;
use pgq::mover::row::written::{Line, Written};
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

/// With more kinds of rows than this, none keeps memory that it does not use.
const FEW: usize = 32;

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
    /// Whether the target takes all of them, in their order.
    is_whole: bool,
    /// How they are written in events, if rows can be read so.
    written: Option<Written>,
    /// Place of the column that partitions are by, if there is such.
    date: Option<usize>,
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

impl Piece {
    /// Whether the rows of another one, of the same batch, go where these do.
    pub(crate) fn is_like(&self, other: &Piece) -> bool {
        Arc::ptr_eq(&self.place, &other.place) && Arc::ptr_eq(&self.shape, &other.shape)
    }
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
    /// The piece that the last row went to.
    last: Option<(Key, usize)>,
    bytes: usize,
    /// Events that are not wanted.
    skipped: u64,
    /// The last row that was read in the short way.
    line: Line,
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
            last: None,
            bytes: 0,
            skipped: 0,
            line: Line::default(),
        }
    }

    /// Takes the row of an event; returns those that go to the target now.
    ///
    /// # Errors
    /// The event cannot be applied.
    pub(crate) fn put(&mut self, event: &EventText<'_>) -> Result<Vec<Piece>, Reason> {
        if let Some(pieces) = self.put_known(event) {
            return Ok(pieces);
        }
        let Some(row) = self.read(event)? else {
            self.skipped += 1;
            return Ok(Vec::new());
        };
        let shape = self.shape_of(event, &row)?;
        let place = match &self.config.part_field {
            None => self.place(event, String::new()),
            Some(PartField::EventTime) => self.place_of_time(event)?,
            Some(PartField::Column(name)) => match row.get(name) {
                Some(Some(value)) => self.place_of(event, value)?,
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
        if self.places[place].is_past {
            self.skipped += 1;
            return Ok(Vec::new());
        }
        let at = self.piece(place, shape);
        let piece = &mut self.waiting[at];
        let before = piece.rows.len();
        let places = piece.shape.layout.places.iter();
        let values = places.map(|place| place.and_then(|place| row.value_at(place)));
        copy::row_of(values, &mut piece.rows);
        piece.events.push(event.id);
        let bytes = piece.rows.len() - before;
        Ok(self.added(at, bytes))
    }

    /// Takes a row with the columns of the last one in the short way; `None` if the long way has to see it:
    /// it is of another kind, or there is anything special about it.
    fn put_known(&mut self, event: &EventText<'_>) -> Option<Vec<Piece>> {
        let kind = event.kind.as_deref()?;
        let letter = *kind.first()?;
        if !(self.rows.keeps_utf8()
            && matches!(letter, b'I' | b'U' | b'D')
            && self.is_wanted(letter))
            || kind.get(1).is_some_and(|&byte| byte != b':')
        {
            return None;
        }
        let shape = self.shapes.get(self.shape)?.clone();
        let mut line = std::mem::take(&mut self.line);
        let is_read = (shape.written.as_ref())?.read(event.data.as_deref()?, &mut line);
        let put = is_read.then(|| self.put_line(event, &shape, &line));
        // One that a huge row has stretched is not worth keeping.
        if line.text().len() < PIECE_BYTES {
            self.line = line;
        }
        put?
    }

    fn put_line(
        &mut self,
        event: &EventText<'_>,
        shape: &Shape,
        line: &Line,
    ) -> Option<Vec<Piece>> {
        let place = match &self.config.part_field {
            None => Ok(self.place(event, String::new())),
            Some(PartField::EventTime) => self.place_of_time(event),
            Some(PartField::Column(_)) => {
                // A date has nothing in it that is escaped in COPY.
                let value = line
                    .value(shape.date?)
                    .filter(|text| !text.contains(&b'\\'))?;
                self.place_of(event, value)
            }
        };
        let place = place.ok()?;
        if self.places[place].is_past {
            return None;
        }
        let at = self.piece(place, self.shape);
        let piece = &mut self.waiting[at];
        let before = piece.rows.len();
        match shape.is_whole {
            true => piece.rows.extend_from_slice(line.text()),
            false => line.push_some(shape.layout.places.iter().copied(), &mut piece.rows),
        }
        piece.rows.push(b'\n');
        piece.events.push(event.id);
        let bytes = piece.rows.len() - before;
        Some(self.added(at, bytes))
    }

    /// Which piece rows of a partition with these columns wait in.
    fn piece(&mut self, place: usize, shape: usize) -> usize {
        let key = (place, shape);
        let known = self.last.filter(|(last, _)| *last == key).map(|(_, at)| at);
        let at = match known.or_else(|| self.by_key.get(&key).copied()) {
            Some(at) => at,
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
        self.last = Some((key, at));
        at
    }

    /// Counts what was put somewhere; returns what goes to the target now.
    fn added(&mut self, at: usize, bytes: usize) -> Vec<Piece> {
        self.bytes += bytes;
        let few = self.waiting.len() <= FEW && bytes < PIECE_BYTES;
        let piece = &mut self.waiting[at];
        if piece.rows.len() >= PIECE_BYTES {
            // As large as the last one, unless they are many.
            let room = |used: usize| if few { used } else { 0 };
            let (rows, events) = (room(piece.rows.capacity()), room(piece.events.capacity()));
            let piece = Piece {
                place: piece.place.clone(),
                shape: piece.shape.clone(),
                rows: std::mem::replace(&mut piece.rows, Vec::with_capacity(rows)),
                events: std::mem::replace(&mut piece.events, Vec::with_capacity(events)),
            };
            self.bytes -= piece.rows.len();
            return vec![piece];
        }
        match self.bytes >= ALL_BYTES {
            true => self.take_all(),
            false => Vec::new(),
        }
    }

    /// Takes out all that waits, in the order in which the first of each kind came.
    pub(crate) fn take_all(&mut self) -> Vec<Piece> {
        self.by_key.clear();
        self.last = None;
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
        let date = match &self.config.part_field {
            Some(PartField::Column(column)) => names.iter().position(|name| name == column),
            _ => None,
        };
        let is_encoded = |kind: &[u8]| !kind.starts_with(b"{");
        let encoded = event.kind.as_deref().is_some_and(is_encoded);
        let data = event.data.as_deref().filter(|_| encoded);
        let written = data.and_then(|data| Written::of(data, names.len()));
        let all = (0..names.len()).map(Some);
        let source = event.extra[0].as_deref();
        self.shapes.push(Arc::new(Shape {
            names: names.into_iter().map(str::to_owned).collect(),
            is_whole: layout.places.iter().copied().eq(all),
            layout,
            written,
            date,
            source: source.map(|name| String::from_utf8_lossy(name).into_owned()),
        }));
        self.shape = self.shapes.len() - 1;
        Ok(self.shape)
    }

    /// The partition of a row, by the value for it.
    fn place_of(&mut self, event: &EventText<'_>, value: &[u8]) -> Result<usize, Reason> {
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

    /// The partition of a row, by the time of its event.
    fn place_of_time(&mut self, event: &EventText<'_>) -> Result<usize, Reason> {
        let label = self.labels.of_time(event.time)?;
        Ok(self.place(event, label))
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
        let target = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            Some(self.config.fields.target_of(&name)?.to_owned())
        };
        if kind.starts_with(b"{") {
            let row = self.rows.read(event.fields());
            let keys = row.map(|row| row.keys).unwrap_or_default();
            return keys.iter().filter_map(|(name, _)| target(name)).collect();
        }
        match kind.iter().position(|&byte| byte == b':') {
            Some(at) => row::key_names(&kind[at + 1..]).filter_map(target).collect(),
            None => Vec::new(),
        }
    }
}

/// The event with text of its own.
pub(crate) fn owned(event: &EventText<'_>) -> EventText<'static> {
    let owned = |text: &Option<Cow<'_, [u8]>>| Some(Cow::Owned(text.as_ref()?.to_vec()));
    EventText {
        id: event.id,
        time: event.time,
        kind: owned(&event.kind),
        data: owned(&event.data),
        extra: event.extra.each_ref().map(owned),
    }
}
