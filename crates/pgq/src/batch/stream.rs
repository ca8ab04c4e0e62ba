//! The events of a batch as the server sends them by COPY: the fastest way to read many.

use std::borrow::Cow;
use std::io::BufRead;
use std::sync::mpsc::{self, SyncSender};

use postgres::types::{FromSql, Type};
use skytools::copy_binary::{self, Place, Row};
use skytools::db::{DbError, During, Text, Tx};

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

/// Events are read in pieces of so many bytes, or of one event.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that wait beside the one that is handled and the one that is read: one, for an event may be large.
const AHEAD: usize = 1;

/// Runs a query for [`EventText::COLUMNS`] and goes through its rows, in bounded memory; returns how many there were.
/// The server goes on sending while they are handled.
pub(crate) fn stream<E: From<Error>>(
    source: &mut Tx<'_>,
    query: &str,
    mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
) -> Result<i64, E> {
    std::thread::scope(|scope| {
        let (send, pieces) = mpsc::sync_channel(AHEAD);
        let reading = scope.spawn(move || read(source, query, &send));
        let mut rows = Rows::default();
        let mut rest = Vec::new();
        let handled = pieces.iter().try_for_each(|piece: Vec<u8>| {
            // A message is a row on all known servers; what is none waits for the rest.
            if rest.is_empty() {
                let whole = rows.go_through(&piece, &mut handle)?;
                rest.extend_from_slice(&piece[whole..]);
            } else {
                rest.extend_from_slice(&piece);
                let whole = rows.go_through(&rest, &mut handle)?;
                rest.drain(..whole);
            }
            Ok::<(), E>(())
        });
        // Who reads ends when nobody listens.
        drop(pieces);
        let read = reading.join().expect("reading does not panic");
        handled?;
        read?;
        match rows.ended {
            true => Ok(rows.count),
            false => Err(Error::UnreadableEvent.into()),
        }
    })
}

/// Reads what a query gives in binary form.
fn read(source: &mut Tx<'_>, query: &str, send: &SyncSender<Vec<u8>>) -> Result<(), Error> {
    const STEP: &str = "read the events of the batch";
    let copying = source.copy_out(&format!("copy ({query}) to stdout (format binary)"));
    let mut reader = copying.during(STEP)?;
    let mut piece = Vec::new();
    loop {
        let bytes = reader
            .fill_buf()
            .map_err(|error| DbError::in_copy(STEP, error))?;
        let length = bytes.len();
        piece.extend_from_slice(bytes);
        if length == 0 || piece.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES));
            if send.send(full).is_err() || length == 0 {
                return Ok(());
            }
        }
        reader.consume(length);
    }
}

/// The rows of a COPY.
#[derive(Debug, Default)]
struct Rows {
    started: bool,
    ended: bool,
    count: i64,
}

impl Rows {
    /// Goes through those that are there as a whole; returns how many bytes they have.
    fn go_through<E: From<Error>>(
        &mut self,
        bytes: &[u8],
        handle: &mut impl FnMut(EventText<'_>) -> Result<(), E>,
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
        while !self.ended
            && let Some(row) = copy_binary::row(bytes, &mut at).map_err(unreadable)?
        {
            match row {
                Row::Fields(places) => {
                    self.count += 1;
                    handle(EventText::parse(bytes, places).ok_or(Error::UnreadableEvent)?)?;
                }
                Row::End => self.ended = true,
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
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
        for at_a_time in [1, 7, 40, bytes.len()] {
            let (mut rows, mut parts) = (Rows::default(), Vec::new());
            for piece in bytes.chunks(at_a_time) {
                parts.extend_from_slice(piece);
                let whole = rows.go_through(&parts, &mut |event: EventText<'_>| {
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
                });
                parts.drain(..whole.unwrap());
            }
            assert_eq!((rows.count, rows.ended), (2, true));
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
            let mut rows = Rows::default();
            let read = rows.go_through(&copy(&[row]), &mut |_| Ok::<(), Error>(()));
            assert!(matches!(read, Err(Error::UnreadableEvent)), "{place}");
            row = ROW;
        }
    }
}
