//! The events of a batch as the server streams them: one piece of memory for many of them.

use std::io::BufRead;

use pgq::EventId;
use pgq::batch::{Event, EventTime};
use postgres::types::{FromSql, Type};
use skytools::copy_binary::{Malformed, Place, Row, be_i32, header, row};
use skytools::db::Text;

/// The columns of an event, in the order that [`Reader`] expects.
pub(crate) const COLUMNS: &str = "ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, \
                                  ev_extra1, ev_extra2, ev_extra3, ev_extra4";

const FIELDS: usize = 10;

/// Events that follow one another.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    rows: Vec<Raw>,
}

#[derive(Debug, Clone, Copy)]
struct Raw {
    id: i64,
    time: i64,
    txid: i64,
    retry: Option<i32>,
    /// `ev_type`, `ev_data`, `ev_extra1` to `ev_extra4`.
    texts: [Place; 6],
}

/// An event in the memory of its chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRef<'c> {
    chunk: &'c Chunk,
    raw: &'c Raw,
    place: usize,
}

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that it takes, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + size_of_val(self.rows.as_slice())
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = EventRef<'_>> {
        (0..self.rows.len()).map(|place| self.event(place))
    }

    /// The first id and the last, of events in order.
    pub(crate) fn ids(&self) -> Option<[i64; 2]> {
        Some([self.rows.first()?.id, self.rows.last()?.id])
    }

    /// Puts the events in order.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_by_key(|raw| raw.id);
    }

    /// The id in the middle, of events in order.
    pub(crate) fn middle(&self) -> Option<i64> {
        Some(self.rows.get(self.rows.len().checked_sub(1)? / 2)?.id)
    }

    /// The same and those of another, in order: up to an id, and the rest.
    pub(crate) fn merge(self, other: Chunk, last: i64) -> (Chunk, Chunk) {
        let rows = |chunk: &Chunk, number| {
            let rows = chunk.rows.iter().map(move |raw| (number, *raw));
            rows.collect::<Vec<(usize, Raw)>>()
        };
        let mut all = rows(&self, 0);
        all.extend(rows(&other, 1));
        all.sort_by_key(|(_, raw)| raw.id);
        let sources = [&self.bytes[..], &other.bytes[..]];
        let (first, rest) = all.split_at(all.partition_point(|(_, raw)| raw.id <= last));
        (Chunk::of(sources, first), Chunk::of(sources, rest))
    }

    /// Copies rows, each from one of the sources.
    fn of(sources: [&[u8]; 2], rows: &[(usize, Raw)]) -> Chunk {
        let mut chunk = Chunk::default();
        for (source, raw) in rows {
            let mut raw = *raw;
            for (start, end) in raw.texts.iter_mut().flatten() {
                let at = chunk.bytes.len();
                chunk
                    .bytes
                    .extend_from_slice(&sources[*source][*start..*end]);
                (*start, *end) = (at, chunk.bytes.len());
            }
            chunk.rows.push(raw);
        }
        chunk
    }

    /// The event at a place, counted from 0.
    pub(crate) fn event(&self, place: usize) -> EventRef<'_> {
        EventRef {
            chunk: self,
            raw: &self.rows[place],
            place,
        }
    }
}

impl<'c> EventRef<'c> {
    /// Its place in the chunk.
    pub(crate) fn place(self) -> usize {
        self.place
    }

    pub(crate) fn id(self) -> EventId {
        EventId::from(self.raw.id)
    }

    pub(crate) fn txid(self) -> i64 {
        self.raw.txid
    }

    pub(crate) fn retry(self) -> Option<i32> {
        self.raw.retry
    }

    fn text(self, place: usize) -> Option<&'c [u8]> {
        self.raw.texts[place].map(|(start, end)| &self.chunk.bytes[start..end])
    }

    /// `ev_type`.
    pub(crate) fn kind(self) -> Option<&'c [u8]> {
        self.text(0)
    }

    /// `ev_data`.
    pub(crate) fn data(self) -> Option<&'c [u8]> {
        self.text(1)
    }

    /// `ev_extra1` to `ev_extra4`, counted from 0.
    pub(crate) fn extra(self, number: usize) -> Option<&'c [u8]> {
        self.text(2 + number)
    }

    /// The event in memory of its own.
    ///
    /// # Errors
    /// Its time is none.
    pub(crate) fn to_event(self) -> Result<Event, Malformed> {
        let text = |place| self.text(place).map(|bytes| Text::from(bytes.to_vec()));
        let time = EventTime::from_sql(&Type::TIMESTAMPTZ, &self.raw.time.to_be_bytes());
        Ok(Event {
            id: self.id(),
            time: time.map_err(|_| Malformed)?,
            txid: self.raw.txid,
            retry: self.raw.retry,
            kind: text(0),
            data: text(1),
            extra: [text(2), text(3), text(4), text(5)],
        })
    }
}

/// Why events cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// How much is read at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// Cuts a COPY in binary format into chunks.
pub(crate) struct Reader<R> {
    copy: R,
    /// Bytes of the first row of the next chunk.
    rest: Vec<u8>,
    started: bool,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(copy: R) -> Reader<R> {
        Reader {
            copy,
            rest: Vec::new(),
            started: false,
            ended: false,
        }
    }

    /// The next events; `None` after the last. A chunk holds one event at least, however large.
    pub(crate) fn next(&mut self, limits: Limits) -> Result<Option<Chunk>, ReadError> {
        let mut chunk = Chunk {
            bytes: std::mem::take(&mut self.rest),
            rows: Vec::new(),
        };
        let mut at = 0;
        while !self.ended {
            let more = self.copy.fill_buf()?;
            if more.is_empty() {
                return Err(Malformed.into());
            }
            chunk.bytes.extend_from_slice(more);
            let size = more.len();
            self.copy.consume(size);
            if !self.started {
                match header(&chunk.bytes)? {
                    None => continue,
                    Some(end) => {
                        at = end;
                        self.started = true;
                    }
                }
            }
            while let Some(row) = row(&chunk.bytes, &mut at)? {
                match row {
                    Row::Fields(places) => {
                        let raw = event(&chunk.bytes, places).ok_or(Malformed)?;
                        chunk.rows.push(raw);
                    }
                    Row::End => {
                        self.ended = true;
                        self.drain()?;
                        break;
                    }
                }
            }
            let full = chunk.rows.len() >= limits.events || at >= limits.bytes;
            if full && !chunk.rows.is_empty() {
                self.rest = chunk.bytes.split_off(at);
                return Ok(Some(chunk));
            }
        }
        Ok((!chunk.rows.is_empty()).then_some(chunk))
    }

    /// Takes the end of the COPY from the server.
    fn drain(&mut self) -> Result<(), ReadError> {
        match self.copy.fill_buf()? {
            [] => Ok(()),
            _ => Err(Malformed.into()),
        }
    }
}

/// The event whose fields are at these places.
fn event(bytes: &[u8], places: [Place; FIELDS]) -> Option<Raw> {
    let number = |place: Place| -> Option<i64> {
        let (start, end) = place?;
        match bytes.get(start..end)? {
            eight if eight.len() == 8 => Some(i64::from_be_bytes(eight.try_into().ok()?)),
            four => be_i32(four).map(i64::from),
        }
    };
    Some(Raw {
        id: number(places[0])?,
        time: number(places[1])?,
        txid: number(places[2])?,
        retry: number(places[3]).and_then(|retry| i32::try_from(retry).ok()),
        texts: std::array::from_fn(|text| places[4 + text]),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chunk of events of these ids, with data that tell them.
    pub(crate) fn chunk(ids: &[i64]) -> Chunk {
        let data: Vec<String> = ids.iter().map(|id| format!("data of {id}")).collect();
        let events: Vec<_> = (ids.iter().zip(&data))
            .map(|(id, data)| (*id, Some(data.as_str())))
            .collect();
        let limits = Limits {
            events: usize::MAX,
            bytes: usize::MAX,
        };
        let chunk = Reader::new(&copy(&events)[..]).next(limits).unwrap();
        chunk.unwrap_or_default()
    }

    /// A COPY of events with these ids and data.
    fn copy(events: &[(i64, Option<&str>)]) -> Vec<u8> {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend([0; 8]);
        for (id, data) in events {
            bytes.extend(10_i16.to_be_bytes());
            for number in [*id, 0, 7] {
                bytes.extend(8_i32.to_be_bytes());
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend((-1_i32).to_be_bytes());
            for text in [Some("I"), *data, None, None, None, None] {
                let length = text.map_or(-1, |text| i32::try_from(text.len()).unwrap());
                bytes.extend(length.to_be_bytes());
                bytes.extend(text.unwrap_or_default().bytes());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    /// Ids and data, chunk by chunk, when so many bytes come at a time.
    fn read(bytes: &[u8], at_a_time: usize, limits: Limits) -> Vec<Vec<(i64, Option<String>)>> {
        let mut reader = Reader::new(std::io::BufReader::with_capacity(at_a_time, bytes));
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next(limits).unwrap() {
            let event = |event: EventRef<'_>| {
                let data = event.data();
                let data = data.map(|data| String::from_utf8(data.to_vec()).unwrap());
                (event.raw.id, data)
            };
            chunks.push(chunk.events().map(event).collect());
        }
        chunks
    }

    #[test]
    fn chunks_hold_whole_events_however_the_bytes_come() {
        let bytes = copy(&[(1, Some("abc")), (2, None), (3, Some(""))]);
        let all = vec![
            (1, Some("abc".to_owned())),
            (2, None),
            (3, Some(String::new())),
        ];
        let unlimited = Limits {
            events: 100,
            bytes: 1000,
        };
        for at_a_time in 1..bytes.len() {
            assert_eq!(
                read(&bytes, at_a_time, unlimited),
                vec![all.clone()],
                "{at_a_time}"
            );
        }
        let single = Limits {
            events: 100,
            bytes: 1,
        };
        let apart: Vec<_> = all.iter().map(|event| vec![event.clone()]).collect();
        assert_eq!(read(&bytes, 20, single), apart);
        assert!(read(&copy(&[]), 20, single).is_empty());
    }

    #[test]
    fn a_copy_that_breaks_off_is_an_error() {
        let bytes = copy(&[(1, Some("abc"))]);
        let limits = Limits {
            events: 100,
            bytes: 1000,
        };
        let mut reader = Reader::new(&bytes[..bytes.len() - 2]);
        assert!(reader.next(limits).is_err());
        assert!(
            Reader::new(&b"PGCOPY and something else altogether"[..])
                .next(limits)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_copy_panics(
            junk: Vec<u8>,
            damaged in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
        ) {
            let mut bytes = copy(&[(1, Some("abc")), (2, None), (3, Some(""))]);
            for (place, byte) in damaged {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let mut behind_a_header = copy(&[])[..19].to_vec();
            behind_a_header.extend(&junk);
            for bytes in [junk, behind_a_header, bytes] {
                let limits = Limits { events: 2, bytes: 1000 };
                let mut reader = Reader::new(&bytes[..]);
                while let Ok(Some(chunk)) = reader.next(limits) {
                    for event in chunk.events() {
                        let _ = (event.kind(), event.data(), event.extra(3), event.to_event());
                    }
                }
            }
        }
    }
}
