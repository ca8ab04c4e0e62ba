//! The events of a batch as the server sends them by COPY: the fastest way to read many.

use std::borrow::Cow;
use std::io::BufRead;

use skytools::copy;
use skytools::db::{DbError, During, Text, Tx};

use super::Event;
use crate::row::Fields;
use crate::{Error, EventId};

/// An event whose text is lent.
#[derive(Debug, Clone)]
pub struct EventText<'a> {
    /// Number of the event.
    pub id: EventId,
    /// When it was put in, as the server writes it: ISO, with offset.
    pub time: Cow<'a, str>,
    /// `ev_type`.
    pub kind: Option<Cow<'a, [u8]>>,
    /// `ev_data`.
    pub data: Option<Cow<'a, [u8]>>,
    /// `ev_extra1` to `ev_extra4`.
    pub extra: [Option<Cow<'a, [u8]>>; 4],
}

impl<'a> EventText<'a> {
    /// The columns that it is made of.
    pub(crate) const COLUMNS: [&'static str; 8] = [
        "ev_id",
        "ev_time",
        "ev_type",
        "ev_data",
        "ev_extra1",
        "ev_extra2",
        "ev_extra3",
        "ev_extra4",
    ];

    /// Reads a row in the form of COPY; `None` if it is none.
    fn parse(line: &'a [u8]) -> Option<EventText<'a>> {
        let mut fields = copy::fields(line);
        let mut next = || fields.next()?.ok();
        let id: i64 = std::str::from_utf8(&next()??).ok()?.parse().ok()?;
        let time = match next()?? {
            Cow::Borrowed(text) => Cow::Borrowed(std::str::from_utf8(text).ok()?),
            Cow::Owned(text) => Cow::Owned(String::from_utf8(text).ok()?),
        };
        Some(EventText {
            id: id.into(),
            time,
            kind: next()?,
            data: next()?,
            extra: [next()?, next()?, next()?, next()?],
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
            time: Cow::Owned(event.time.to_string()),
            kind: lend(&event.kind),
            data: lend(&event.data),
            extra: event.extra.each_ref().map(lend),
        }
    }
}

/// Runs a query for [`EventText::COLUMNS`] and goes through its rows, in the memory of one; returns how many
/// there were.
pub(crate) fn stream<E: From<Error>>(
    source: &mut Tx<'_>,
    query: &str,
    mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
) -> Result<i64, E> {
    const STEP: &str = "read the events of the batch";
    let mut count = 0;
    let mut handle_rows = |rows: &[u8]| -> Result<(), E> {
        for line in rows.split_inclusive(|&byte| byte == b'\n') {
            count += 1;
            handle(EventText::parse(line).ok_or(Error::UnreadableEvent)?)?;
        }
        Ok(())
    };
    let copying = source.copy_out(&format!("copy ({query}) to stdout"));
    let mut reader = copying.during(STEP).map_err(Error::from)?;
    let mut parts = Vec::new();
    loop {
        let chunk = reader
            .fill_buf()
            .map_err(|error| Error::from(DbError::in_copy(STEP, error)))?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        // A message is a row on all known servers; what is none waits for the rest.
        if parts.is_empty() && chunk.ends_with(b"\n") {
            handle_rows(chunk)?;
        } else {
            parts.extend_from_slice(chunk);
            if parts.ends_with(b"\n") {
                handle_rows(&parts)?;
                parts.clear();
            }
        }
        reader.consume(length);
    }
    handle_rows(&parts)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_copy_is_an_event() {
        let line =
            b"7\t2026-01-02 03:04:05.678901+00\tU:id\tid=1&v=a%5cb\tpublic.t\t\\N\ta\\tb\t\n";
        let event = EventText::parse(line).unwrap();
        assert_eq!(
            (event.id.get(), &*event.time),
            (7, "2026-01-02 03:04:05.678901+00")
        );
        assert_eq!(event.data.as_deref(), Some(&b"id=1&v=a%5cb"[..]));
        let extra = event.extra.each_ref().map(Option::as_deref);
        assert_eq!(
            extra,
            [Some(&b"public.t"[..]), None, Some(b"a\tb"), Some(b"")]
        );
        assert!(matches!(event.data, Some(Cow::Borrowed(_))));
        for none in [
            "",
            "7",
            "x\t\t\t\t\t\t\t",
            "7\t\\N\t\t\t\t\t\t",
            "7\t\t\t\t\t\t\t\\",
        ] {
            assert!(EventText::parse(none.as_bytes()).is_none(), "{none:?}");
        }
    }
}
