//! From the encoding that triggers wrote in to the one that the target reads.
//!
//! What the triggers encode is bytes of the database where they ran, whatever the connection's encoding is.
//! How these read as Unicode is asked of the target once, so that the server's own conversions count.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use postgres::types::Type;
use skytools::db::{Connection, During};
use skytools::record::Record;

use crate::Error;
use crate::row;

/// What the server calls the encoding in which any byte goes.
pub(super) const ASCII: &str = "SQL_ASCII";

/// What it calls UTF-8.
pub(super) const UTF8: &str = "UTF8";

/// Stands for what cannot be read.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// How bytes of an encoding become what the target reads.
#[derive(Debug)]
pub(super) struct Encoding {
    name: String,
    letters: Letters,
}

#[derive(Debug)]
enum Letters {
    /// The target takes any byte.
    Any,
    /// They are UTF-8, and so is what the target reads.
    Utf8,
    /// Each byte above ASCII is a letter, or none.
    Bytes(Vec<Option<Box<str>>>),
    /// Some bytes above ASCII are a letter together.
    Groups(HashMap<Vec<u8>, Box<str>>),
}

/// The encoding of the database.
pub(super) fn of_server(db: &mut Connection) -> Result<String, Error> {
    let sql = "select pg_catalog.current_setting('server_encoding')";
    let row = db
        .query_typed_one(sql, &[])
        .during("ask for the encoding of the database")?;
    Ok(row.get(0))
}

/// An encoding as the server names it: `latin1` is LATIN1.
pub(super) fn named(db: &mut Connection, name: &str) -> Result<String, Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.pg_encoding_to_char(pg_catalog.pg_char_to_encoding($1))",
            &[(&name, Type::NAME)],
        )
        .during("look up source_encoding")?;
    match row.get(0) {
        "" => Err(Error::UnknownEncoding(name.to_owned())),
        known => Ok(known.to_owned()),
    }
}

impl Encoding {
    /// Asks the target how the letters of an encoding read.
    pub(super) fn load(name: String, target: &mut Connection) -> Result<Encoding, Error> {
        let letters = match name.as_str() {
            _ if of_server(target)? == ASCII => Letters::Any,
            UTF8 | ASCII => Letters::Utf8,
            _ => {
                let codes = codes(&name, target)?;
                let letters = ask(target, &name, &codes)?;
                match codes.iter().all(|code| code.len() == 1) {
                    true => Letters::Bytes(letters),
                    false => Letters::Groups(
                        (codes.into_iter().zip(letters))
                            .filter_map(|(code, letter)| Some((code, letter?)))
                            .collect(),
                    ),
                }
            }
        };
        Ok(Encoding { name, letters })
    }

    /// UTF-8 for a target that reads it.
    #[cfg(test)]
    pub(super) fn utf8() -> Encoding {
        Encoding {
            name: UTF8.to_owned(),
            letters: Letters::Utf8,
        }
    }

    /// LATIN1 for the same target.
    #[cfg(test)]
    pub(super) fn latin1() -> Encoding {
        let letter = |byte: u8| Some(char::from(byte).to_string().into());
        Encoding {
            name: "LATIN1".to_owned(),
            letters: Letters::Bytes((0x80..=0xff).map(letter).collect()),
        }
    }

    pub(super) fn transcoder(self, replace: bool) -> Transcoder {
        Transcoder {
            encoding: self,
            replace,
            replaced: AtomicU64::new(0),
        }
    }

    /// Appends text above ASCII, with [`REPLACEMENT`] for what is not of the encoding; false if there was
    /// such.
    fn push(&self, text: &[u8], out: &mut String) -> bool {
        let mut valid = true;
        let mut put = |letter: Option<&str>, out: &mut String| match letter {
            Some(letter) => out.push_str(letter),
            None => {
                valid = false;
                out.push(REPLACEMENT);
            }
        };
        match &self.letters {
            Letters::Any | Letters::Utf8 => {
                for chunk in text.utf8_chunks() {
                    out.push_str(chunk.valid());
                    if !chunk.invalid().is_empty() {
                        put(None, out);
                    }
                }
            }
            Letters::Bytes(letters) => {
                for &byte in text {
                    match byte.checked_sub(0x80) {
                        None => out.push(char::from(byte)),
                        Some(place) => put(letters[usize::from(place)].as_deref(), out),
                    }
                }
            }
            Letters::Groups(letters) => {
                let mut rest = text;
                while let Some(&byte) = rest.first() {
                    let length = match byte {
                        ..0x80 => {
                            out.push(char::from(byte));
                            rest = &rest[1..];
                            continue;
                        }
                        0x8e if self.name == "EUC_TW" => 4,
                        0x8f => 3,
                        _ => 2,
                    };
                    let found = rest.get(..length).and_then(|code| letters.get(code));
                    put(found.map(|letter| &**letter), out);
                    // Behind what is no letter, the next byte may begin one.
                    rest = &rest[found.map_or(1, |_| length)..];
                }
            }
        }
        valid
    }
}

/// The codes that may be letters: all above ASCII.
fn codes(name: &str, target: &mut Connection) -> Result<Vec<Vec<u8>>, Error> {
    let row = target
        .query_typed_one(
            "select pg_catalog.pg_encoding_max_length(pg_catalog.pg_char_to_encoding($1))",
            &[(&name, Type::NAME)],
        )
        .during("look up source_encoding")?;
    if row.get::<_, i32>(0) == 1 {
        return Ok((0x80..=0xff).map(|byte| vec![byte]).collect());
    }
    const PART: std::ops::RangeInclusive<u8> = 0xa1..=0xfe;
    let pairs =
        |lead: &'static [u8]| PART.flat_map(move |a| PART.map(move |b| [lead, &[a, b]].concat()));
    let half_width = PART.map(|byte| vec![0x8e, byte]);
    let planes: [&'static [u8]; 8] = [
        &[0x8e, 0xa1],
        &[0x8e, 0xa2],
        &[0x8e, 0xa3],
        &[0x8e, 0xa4],
        &[0x8e, 0xa5],
        &[0x8e, 0xa6],
        &[0x8e, 0xa7],
        &[0x8e, 0xaf],
    ];
    Ok(match name {
        "EUC_CN" | "EUC_KR" => pairs(&[]).collect(),
        "EUC_JP" | "EUC_JIS_2004" => (pairs(&[]).chain(half_width))
            .chain(pairs(&[0x8f]))
            .collect(),
        "EUC_TW" => pairs(&[])
            .chain(planes.into_iter().flat_map(pairs))
            .collect(),
        _ => return Err(Error::UnknownEncoding(name.to_owned())),
    })
}

/// How the target's server reads these codes; `None` for those that are no letters.
fn ask(
    target: &mut Connection,
    encoding: &str,
    codes: &[Vec<u8>],
) -> Result<Vec<Option<Box<str>>>, Error> {
    let mut tx = target.begin()?;
    // There is no conversion that does not fail; nothing of this stays.
    tx.batch_execute(
        "create function pg_temp.letters(i_encoding pg_catalog.name, i_codes pg_catalog.bytea[])
         returns setof pg_catalog.bytea language plpgsql set search_path = pg_catalog as $$
         declare
             v_code bytea;
         begin
             foreach v_code in array i_codes loop
                 begin
                     return next convert(v_code, i_encoding, 'UTF8');
                 exception
                     when character_not_in_repertoire or untranslatable_character then
                         return next null;
                 end;
             end loop;
         end $$",
    )
    .during("make a temporary function that reads source_encoding")?;
    let rows = tx
        .query_typed(
            "select * from pg_temp.letters($1, $2)",
            &[(&encoding, Type::NAME), (&codes, Type::BYTEA_ARRAY)],
        )
        .during("read the letters of source_encoding")?;
    tx.rollback()?;
    let letter = |row: &postgres::Row| {
        let bytes: Option<&[u8]> = row.get(0);
        bytes.and_then(|bytes| Some(std::str::from_utf8(bytes).ok()?.into()))
    };
    Ok(rows.iter().map(letter).collect())
}

/// Makes text of an encoding what the target reads.
#[derive(Debug)]
pub(super) struct Transcoder {
    encoding: Encoding,
    replace: bool,
    /// Texts that have lost something.
    replaced: AtomicU64,
}

impl Transcoder {
    /// A row: names in UTF-8, and values without zero bytes, in what the target reads.
    pub(super) fn record<'a>(&self, row: Record<'a>) -> Result<Record<'a>, row::Error> {
        for (name, value) in row.iter() {
            if value.is_some_and(|value| value.contains(&0)) {
                return Err(row::Error::ZeroByte(lossy(name)));
            }
        }
        if row.iter().all(|(name, value)| {
            std::str::from_utf8(name).is_ok()
                && self.fits(name)
                && value.is_none_or(|v| self.fits(v))
        }) {
            return Ok(row);
        }
        let mut columns = Vec::with_capacity(row.len());
        for (name, value) in row {
            let what = || format!("column {}", lossy(&name));
            let value = match value {
                Some(value) => Some(self.owned(value, what)?),
                None => None,
            };
            let name = self.owned(name.clone(), || {
                format!("the name of column {}", lossy(&name))
            })?;
            if std::str::from_utf8(&name).is_err() {
                return Err(row::Error::Encoding {
                    what: format!("the name of column {}", lossy(&name)),
                    encoding: UTF8.to_owned(),
                });
            }
            columns.push((name, value));
        }
        Ok(Record::new(columns))
    }

    /// Other text.
    pub(super) fn text<'a>(
        &self,
        text: &'a [u8],
        what: impl FnOnce() -> String,
    ) -> Result<Cow<'a, [u8]>, row::Error> {
        self.owned(Cow::Borrowed(text), what)
    }

    /// Text for a person to look at, which the target takes whatever it is.
    pub(super) fn readable<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match String::from_utf8_lossy(text) {
            Cow::Owned(replaced) if !matches!(self.encoding.letters, Letters::Any) => {
                Cow::Owned(replaced.into_bytes())
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// How many texts have lost something since this was asked.
    pub(super) fn take_replaced(&self) -> u64 {
        self.replaced.swap(0, Ordering::Relaxed)
    }

    /// Whether UTF-8 is what the target reads as it is.
    pub(super) fn keeps_utf8(&self) -> bool {
        matches!(self.encoding.letters, Letters::Any | Letters::Utf8)
    }

    /// Whether text is what the target reads as it is.
    fn fits(&self, text: &[u8]) -> bool {
        text.is_ascii()
            || match self.encoding.letters {
                Letters::Any => true,
                Letters::Utf8 => std::str::from_utf8(text).is_ok(),
                Letters::Bytes(_) | Letters::Groups(_) => false,
            }
    }

    fn owned<'a>(
        &self,
        text: Cow<'a, [u8]>,
        what: impl FnOnce() -> String,
    ) -> Result<Cow<'a, [u8]>, row::Error> {
        if self.fits(&text) {
            return Ok(text);
        }
        let mut out = String::with_capacity(text.len() + text.len() / 2);
        if !self.encoding.push(&text, &mut out) {
            if !self.replace {
                return Err(row::Error::Encoding {
                    what: what(),
                    encoding: self.encoding.name.replace(ASCII, UTF8),
                });
            }
            self.replaced.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Cow::Owned(out.into_bytes()))
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcoder(letters: Letters, replace: bool) -> Transcoder {
        let name = "LATIN1".to_owned();
        Encoding { name, letters }.transcoder(replace)
    }

    /// A code of two bytes and one of three.
    fn groups() -> Letters {
        let letters: [(&[u8], &str); 2] = [(b"\xb0\xa1", "亜"), (b"\x8f\xb0\xa1", "丂")];
        Letters::Groups(
            letters
                .map(|(code, letter)| (code.to_vec(), letter.into()))
                .into(),
        )
    }

    /// As in LATIN1, but without 0x80.
    fn bytes() -> Letters {
        let letter = |byte: u8| Some(char::from(byte).to_string().into());
        let rest = (0x81..=0xff).map(letter);
        Letters::Bytes(std::iter::once(None).chain(rest).collect())
    }

    fn read(transcoder: &Transcoder, text: &[u8]) -> Result<String, String> {
        match transcoder.text(text, || "it".to_owned()) {
            Ok(text) => Ok(String::from_utf8(text.into_owned()).expect("UTF-8")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn text_is_read_in_its_encoding() {
        let cases: [(Letters, &[u8], &str); 4] = [
            (bytes(), b"caf\xe9", "café"),
            (groups(), b"a\xb0\xa1b\x8f\xb0\xa1", "a亜b丂"),
            (Letters::Utf8, "é€😀".as_bytes(), "é€😀"),
            (Letters::Any, b"plain", "plain"),
        ];
        for (letters, text, expected) in cases {
            assert_eq!(read(&transcoder(letters, false), text).unwrap(), expected);
        }
        let any = transcoder(Letters::Any, false);
        assert_eq!(&*any.text(b"\xff\xfe", String::new).unwrap(), b"\xff\xfe");
    }

    #[test]
    fn what_is_not_of_the_encoding_is_refused_or_replaced() {
        type Case<'a> = (fn() -> Letters, &'a [u8], &'a str);
        let cases: [Case<'_>; 4] = [
            (bytes, b"a\x80b", "a\u{fffd}b"),
            (groups, b"\xb0\xa1\xb0", "亜\u{fffd}"),
            (groups, b"\xa9\xb0\xa1", "\u{fffd}亜"),
            (|| Letters::Utf8, b"caf\xe9!", "caf\u{fffd}!"),
        ];
        for (letters, text, expected) in cases {
            assert_eq!(
                read(&transcoder(letters(), false), text).unwrap_err(),
                "it is not valid LATIN1"
            );
            let replacing = transcoder(letters(), true);
            assert_eq!(read(&replacing, text).unwrap(), expected);
            assert_eq!(
                (replacing.take_replaced(), replacing.take_replaced()),
                (1, 0)
            );
        }
    }

    #[test]
    fn a_row_without_anything_special_stays_as_it_is() {
        let row = Record::from([("a", Some("1")), ("b", None)]);
        let read = transcoder(bytes(), false).record(row.clone()).unwrap();
        assert_eq!(read, row);
        let zero = Record::from([("a", Some("x\0y"))]);
        let error = transcoder(Letters::Any, false).record(zero).unwrap_err();
        assert_eq!(error.to_string(), "column a holds a zero byte");
    }

    #[test]
    fn names_are_utf8_even_where_values_are_anything() {
        let name: Cow<'_, [u8]> = Cow::Borrowed(b"caf\xe9");
        let row = Record::new(vec![(name, Some(Cow::Borrowed(&b"\xe9"[..])))]);
        assert!(transcoder(Letters::Any, false).record(row.clone()).is_err());
        let read = transcoder(bytes(), false).record(row).unwrap();
        assert_eq!(read, Record::from([("café", Some("é"))]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            text: Vec<u8>,
            similar in prop::collection::vec(prop::sample::select(&b"a\x80\x8e\x8f\xb0\xa1\xc3\xa9"[..]), 0..12),
        ) {
            for text in [&text, &similar] {
                for letters in [bytes, groups, || Letters::Utf8] {
                    let replacing = transcoder(letters(), true);
                    let replaced = read(&replacing, text).unwrap();
                    let lost = replacing.take_replaced() > 0;
                    prop_assert!(!lost || replaced.contains(REPLACEMENT));
                    match read(&transcoder(letters(), false), text) {
                        Ok(read) => prop_assert!(!lost && read == replaced),
                        Err(_) => prop_assert!(lost),
                    }
                }
            }
        }
    }
}
