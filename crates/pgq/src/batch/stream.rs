//! The events of a batch as the server sends them by COPY: the fastest way to read many.

use std::borrow::Cow;
use std::io::BufRead;
use std::ops::Range;
use std::sync::mpsc::{self, SyncSender};

use bytes::Bytes;
use postgres::types::{FromSql, Type};
use skytools::copy_binary::{self, Place, Row};
use skytools::db::{CopyOutReader, DbError, During, Text, Tx};

use super::order::Held;
use super::{Event, EventTime};
use crate::row::Fields;
use crate::{Error, EventId};

/// Number of columns.
const FIELDS: usize = 8;

/// An event whose text is lent.
#[derive(Debug, Clone)]
pub struct EventText<'a> {
    /// Number of the event.
    pub id: EventId,
    /// When it was put in.
    pub time: EventTime,
    /// `ev_type`.
    pub kind: Option<Cow<'a, [u8]>>,
    /// `ev_data`.
    pub data: Option<Cow<'a, [u8]>>,
    /// `ev_extra1` to `ev_extra4`.
    pub extra: [Option<Cow<'a, [u8]>>; 4],
}

impl<'a> EventText<'a> {
    /// The columns that it is made of.
    pub(crate) const COLUMNS: [&'static str; FIELDS] = [
        "ev_id",
        "ev_time",
        "ev_type",
        "ev_data",
        "ev_extra1",
        "ev_extra2",
        "ev_extra3",
        "ev_extra4",
    ];

    /// Reads a row of these columns; `None` if it is none.
    fn parse(bytes: &'a [u8], places: [Place; FIELDS]) -> Option<EventText<'a>> {
        let [id, time, kind, data, extra @ ..] =
            places.map(|place| place.map(|(start, end)| &bytes[start..end]));
        let id = i64::from_be_bytes(id?.try_into().ok()?);
        let lend = |text: Option<&'a [u8]>| text.map(Cow::Borrowed);
        Some(EventText {
            id: id.into(),
            time: EventTime::from_sql(&Type::TIMESTAMPTZ, time?).ok()?,
            kind: lend(kind),
            data: lend(data),
            extra: extra.map(lend),
        })
    }

    /// What says whether it is a row event, and which.
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            kind: self.kind.as_deref(),
            data: self.data.as_deref(),
            extra1: self.extra[0].as_deref(),
            extra2: self.extra[1].as_deref(),
        }
    }
}

impl<'a> From<&'a Event> for EventText<'a> {
    fn from(event: &'a Event) -> EventText<'a> {
        let lend = |field: &'a Option<Text>| Some(Cow::Borrowed(field.as_ref()?.as_bytes()));
        EventText {
            id: event.id,
            time: event.time,
            kind: lend(&event.kind),
            data: lend(&event.data),
            extra: event.extra.each_ref().map(lend),
        }
    }
}

/// Events are read ahead in pieces of so many bytes, or of one event.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that wait beside the one that is handled and the one that is read: one, for an event may be large.
const AHEAD: usize = 1;

/// What is smaller is held back in a buffer of its own.
const SMALL_BYTES: usize = 32 * 1024;

/// In which order the server sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By their ids.
    ById,
    /// As they stand in the table: they are put into order here.
    AsStored,
}

/// How much is read before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Some pieces, on another thread.
    Ahead,
    /// What the connection holds.
    Here,
}

/// Runs a query for [`EventText::COLUMNS`] and goes through its rows by their ids, in bounded memory; returns how many
/// there were. The server goes on sending while they are handled.
///
/// # Errors
/// The source failed, or what `handle` returned; [`Error::OutOfOrder`] if events that come as they are stored are too
/// far from their order.
pub(crate) fn stream<E: From<Error>>(
    source: &mut Tx<'_>,
    query: &str,
    order: Order,
    reading: Reading,
    mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
) -> Result<i64, E> {
    let mut arriving = Arriving::new(order);
    match reading {
        Reading::Here => {
            let mut reader = begin(source, query)?;
            loop {
                let rows = (reader.take_rows()).map_err(|error| DbError::in_copy(STEP, error));
                let rows = rows.map_err(Error::from)?;
                if rows.is_empty() {
                    break;
                }
                arriving.take(rows, &mut handle)?;
            }
        }
        Reading::Ahead => std::thread::scope(|scope| {
            let (send, pieces) = mpsc::sync_channel(AHEAD);
            let reading = scope.spawn(move || read_ahead(source, query, &send));
            let handled = (pieces.iter()).try_for_each(|piece| arriving.take(piece, &mut handle));
            // Who reads ends when nobody listens.
            drop(pieces);
            let read = reading.join().expect("reading does not panic");
            handled.and(read.map_err(E::from))
        })?,
    }
    arriving.finish(handle)
}

const STEP: &str = "read the events of the batch";

/// Has the server send what a query gives in binary form.
fn begin<'t>(source: &'t mut Tx<'_>, query: &str) -> Result<CopyOutReader<'t>, Error> {
    let copying = source.copy_out(&format!("copy ({query}) to stdout (format binary)"));
    Ok(copying.during(STEP)?)
}

/// Reads what a query gives, in pieces.
fn read_ahead(source: &mut Tx<'_>, query: &str, send: &SyncSender<Bytes>) -> Result<(), Error> {
    let mut reader = begin(source, query)?;
    let mut piece = Vec::new();
    loop {
        let bytes = reader
            .fill_buf()
            .map_err(|error| DbError::in_copy(STEP, error))?;
        let length = bytes.len();
        piece.extend_from_slice(bytes);
        if length == 0 || piece.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES));
            if send.send(full.into()).is_err() || length == 0 {
                return Ok(());
            }
        }
        reader.consume(length);
    }
}

/// Rows on their way from the server to the one who handles them.
#[derive(Debug)]
struct Arriving {
    rows: Rows,
    /// The part of a row that came last.
    rest: Vec<u8>,
    /// What is held back, if they have to be put into order.
    held: Option<Held>,
}

impl Arriving {
    fn new(order: Order) -> Arriving {
        Arriving {
            rows: Rows::default(),
            rest: Vec::new(),
            held: (order == Order::AsStored).then(Held::new),
        }
    }

    /// Takes the next bytes, and hands over the events whose turn it is.
    fn take<E: From<Error>>(
        &mut self,
        piece: Bytes,
        handle: &mut impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A message is a row on all known servers; what is none waits for the rest.
        let piece = match self.rest.is_empty() {
            true => piece,
            false => {
                self.rest.extend_from_slice(&piece);
                std::mem::take(&mut self.rest).into()
            }
        };
        let Some(held) = &mut self.held else {
            let whole = self.rows.go_through(&piece, &mut |_, places| {
                handle(EventText::parse(&piece, places).ok_or(Error::UnreadableEvent)?)
            })?;
            self.rest.extend_from_slice(&piece[whole..]);
            return Ok(());
        };
        // Few rows may stand in a buffer for many, which would be kept for them.
        let piece = match piece.len() < SMALL_BYTES {
            true => Bytes::copy_from_slice(&piece),
            false => piece,
        };
        held.begin(piece.clone());
        let whole = self.rows.go_through(&piece, &mut |place, places| {
            let [id, ..] = places;
            let id = id.and_then(|(start, end)| piece[start..end].try_into().ok());
            held.put(i64::from_be_bytes(id.ok_or(Error::UnreadableEvent)?), place)
        })?;
        self.rest.extend_from_slice(&piece[whole..]);
        drop(piece);
        held.let_go(|row| handle(event_of(row)?))
    }

    /// Hands over all that is left; returns how many there were in all.
    fn finish<E: From<Error>>(
        mut self,
        mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<i64, E> {
        if !self.rows.ended {
            return Err(Error::UnreadableEvent.into());
        }
        if let Some(held) = &mut self.held {
            held.let_all_go(|row| handle(event_of(row)?))?;
        }
        Ok(self.rows.count)
    }
}

/// The event that a row is.
fn event_of(row: &[u8]) -> Result<EventText<'_>, Error> {
    match copy_binary::row(row, &mut 0) {
        Ok(Some(Row::Fields(places))) => EventText::parse(row, places),
        _ => None,
    }
    .ok_or(Error::UnreadableEvent)
}

/// The rows of a COPY.
#[derive(Debug, Default)]
struct Rows {
    started: bool,
    ended: bool,
    count: i64,
}

impl Rows {
    /// Goes through those that are there as a whole, by their places and those of their fields; returns how many bytes
    /// they have.
    fn go_through<E: From<Error>>(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Range<usize>, [Place; FIELDS]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let unreadable = |_| Error::UnreadableEvent;
        let mut at = 0;
        if !self.started {
            match copy_binary::header(bytes).map_err(unreadable)? {
                Some(end) => at = end,
                None => return Ok(0),
            }
            self.started = true;
        }
        let mut start = at;
        while !self.ended
            && let Some(row) = copy_binary::row(bytes, &mut at).map_err(unreadable)?
        {
            match row {
                Row::Fields(places) => {
                    self.count += 1;
                    take(start..at, places)?;
                }
                Row::End => self.ended = true,
            }
            start = at;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A COPY of rows.
    fn copy(rows: &[[Option<&[u8]>; FIELDS]]) -> Vec<u8> {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend([0; 8]);
        for row in rows {
            bytes.extend(8_i16.to_be_bytes());
            for field in row {
                let length = field.map_or(-1, |text| i32::try_from(text.len()).unwrap());
                bytes.extend(length.to_be_bytes());
                bytes.extend(field.unwrap_or_default());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    const ROW: [Option<&[u8]>; FIELDS] = [
        Some(&[0, 0, 0, 0, 0, 0, 0, 7]),
        Some(&820_638_245_678_901_i64.to_be_bytes()),
        Some(b"U:id"),
        Some(b"id=1&v=a%5cb"),
        Some(b"public.t"),
        None,
        Some(b"a\tb"),
        Some(b""),
    ];

    #[test]
    fn a_row_of_copy_is_an_event_however_the_bytes_come() {
        let bytes = copy(&[ROW, ROW]);
        for order in [Order::ById, Order::AsStored] {
            for at_a_time in [1, 7, 40, bytes.len()] {
                let (mut arriving, mut count) = (Arriving::new(order), 0);
                let mut check = |event: EventText<'_>| {
                    count += 1;
                    assert_eq!(
                        (event.id.get(), event.time.to_string().as_str()),
                        (7, "2026-01-02 03:04:05.678901+00")
                    );
                    assert_eq!(event.kind.as_deref(), Some(&b"U:id"[..]));
                    assert_eq!(event.data.as_deref(), Some(&b"id=1&v=a%5cb"[..]));
                    let extra = event.extra.each_ref().map(Option::as_deref);
                    let expected = [Some(&b"public.t"[..]), None, Some(b"a\tb"), Some(b"")];
                    assert_eq!(extra, expected);
                    Ok::<(), Error>(())
                };
                for piece in bytes.chunks(at_a_time) {
                    let piece = Bytes::copy_from_slice(piece);
                    arriving.take(piece, &mut check).unwrap();
                }
                assert_eq!(arriving.finish(&mut check).unwrap(), 2);
                assert_eq!(count, 2);
            }
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let mut row = ROW;
        for (place, value) in [
            (0, None),
            (0, Some(&b"7"[..])),
            (1, None),
            (1, Some(b"now")),
        ] {
            row[place] = value;
            for order in [Order::ById, Order::AsStored] {
                let mut arriving = Arriving::new(order);
                let mut handle = |_: EventText<'_>| Ok::<(), Error>(());
                let read = arriving.take(copy(&[row]).into(), &mut handle);
                let read = read.and_then(|()| arriving.finish(handle));
                assert!(matches!(read, Err(Error::UnreadableEvent)), "{place}");
            }
            row = ROW;
        }
        let mut cut = copy(&[ROW]);
        cut.truncate(cut.len() - 3);
        let mut arriving = Arriving::new(Order::ById);
        let mut handle = |_: EventText<'_>| Ok::<(), Error>(());
        arriving.take(cut.into(), &mut handle).unwrap();
        assert!(matches!(
            arriving.finish(handle),
            Err(Error::UnreadableEvent)
        ));
    }

    proptest! {
        #[test]
        fn damaged_rows_are_events_or_refused(
            damage in prop::collection::vec((0_usize..200, any::<u8>()), 0..4),
            cut in 0_usize..200,
            at_a_time in 1_usize..60,
        ) {
            let mut bytes = copy(&[ROW, ROW]);
            for (place, byte) in damage {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            for order in [Order::ById, Order::AsStored] {
                let mut arriving = Arriving::new(order);
                let mut handle = |event: EventText<'_>| {
                    let _ = event.time.to_string();
                    Ok::<(), Error>(())
                };
                let mut pieces = bytes.chunks(at_a_time);
                let taken = pieces.try_for_each(|piece| {
                    arriving.take(Bytes::copy_from_slice(piece), &mut handle)
                });
                let _ = taken.and_then(|()| arriving.finish(handle).map(drop));
            }
        }
    }
}
