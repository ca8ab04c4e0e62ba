//! Many requests over one connection: what `xserve` on the slave and the master say to each other.
//!
//! Each side begins with a line that tells its version. A request is a line of JSON, followed by its payload as
//! pieces: four bytes of length, most significant first, and as many bytes; a piece of length zero ends it. The
//! payload's length need not be known before, and whoever cannot use it still finds the next request. Each
//! request is answered by one line of JSON, in their order.

mod ahead;

use std::io::{self, BufRead, ErrorKind, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use ahead::Ahead;

use crate::archive::Form;
use crate::backup::Attributes;

/// Version of all this.
pub(crate) const VERSION: u32 = 1;

/// Longest line.
const LONGEST_LINE: u64 = 64 * 1024;

/// Longest piece of a payload.
const LONGEST_PIECE: usize = 1 << 20;

/// The first line of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) walmgr: u32,
}

impl Hello {
    /// What we say.
    pub(crate) fn ours() -> Hello {
        Hello { walmgr: VERSION }
    }
}

/// What a master asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Take the payload into the archive.
    Receive {
        name: String,
        size: u64,
        sha256: String,
        /// How the payload comes, and is kept.
        #[serde(default)]
        form: Form,
    },
    /// Take the payload into an unfinished segment, from an offset on.
    Partial {
        name: String,
        offset: u64,
        bytes: u64,
    },
    /// Take what follows into the copy of a base backup: of the one that has this lock.
    Copy { lock: String },
    /// A directory of the copy; all paths are relative to it.
    Directory { path: String, mode: Option<u32> },
    /// A link.
    Link { path: String, to: String },
    /// A file, whose content is the payload.
    File {
        path: String,
        attributes: Attributes,
    },
}

/// What a slave answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) ok: bool,
    /// Of the request, if it had one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Digest of what is there now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sha256: String,
    /// Bytes that are there now, of a file of a copy.
    #[serde(default)]
    pub(crate) size: u64,
    /// Whether the archive has the whole segment, so that a part of it is not needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) complete: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

/// Writes a value as a line.
pub(crate) fn write_line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads a line; `None` at the end.
///
/// # Errors
/// It cannot be read, ends in the middle, or is too long.
pub(crate) fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    from.take(LONGEST_LINE).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some(line.to_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads a line that has to be such a value; `None` at the end.
///
/// # Errors
/// As [`read_line`], or it is something else.
pub(crate) fn read_value<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    match read_line(from)? {
        Some(line) => Ok(Some(serde_json::from_str(&line)?)),
        None => Ok(None),
    }
}

/// Takes a payload apart for the other side. It has to be ended by [`Pieces::end`].
pub(crate) struct Pieces<'a, W> {
    to: &'a mut W,
}

impl<'a, W: Write> Pieces<'a, W> {
    pub(crate) fn new(to: &'a mut W) -> Pieces<'a, W> {
        Pieces { to }
    }

    /// Says that this is all.
    pub(crate) fn end(self) -> io::Result<()> {
        self.to.write_all(&0u32.to_be_bytes())
    }
}

impl<W: Write> Write for Pieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(LONGEST_PIECE)];
        if !bytes.is_empty() {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            self.to.write_all(&length.to_be_bytes())?;
            self.to.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A payload, put together again.
pub(crate) struct Payload<'a, R> {
    from: &'a mut R,
    /// Bytes of the current piece that are still to be read.
    left: usize,
    is_over: bool,
}

impl<'a, R: Read> Payload<'a, R> {
    pub(crate) fn new(from: &'a mut R) -> Payload<'a, R> {
        Payload {
            from,
            left: 0,
            is_over: false,
        }
    }

    /// Reads what nobody has read, so that the next request can be found.
    ///
    /// # Errors
    /// It cannot be read to its end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(|_| ())
    }
}

impl<R: Read> Read for Payload<'_, R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.is_over || block.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut length = [0; 4];
            self.from.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length);
            self.left = usize::try_from(length).unwrap_or(usize::MAX);
            if self.left > LONGEST_PIECE {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("a piece of {length} bytes was announced"),
                ));
            }
            if self.left == 0 {
                self.is_over = true;
                return Ok(0);
            }
        }
        let most = self.left.min(block.len());
        match self.from.read(&mut block[..most])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.left -= read;
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::{LONGEST_PIECE, Payload, Pieces, Request, read_line, read_value};

    #[test]
    fn a_payload_that_is_not_used_does_not_hide_what_follows() {
        let mut sent = Vec::new();
        let mut pieces = Pieces::new(&mut sent);
        pieces
            .write_all(&vec![7; LONGEST_PIECE + 3])
            .expect("memory");
        pieces.end().expect("memory");
        sent.extend(b"next\n");
        let mut from = sent.as_slice();
        let mut payload = Payload::new(&mut from);
        payload.read_exact(&mut [0; 10]).expect("it is there");
        payload.finish().expect("it has an end");
        assert_eq!(read_line(&mut from).expect("a line"), Some("next".into()));
        assert_eq!(read_line(&mut from).expect("the end"), None);
    }

    #[test]
    fn what_ends_in_the_middle_is_no_end() {
        assert!(read_line(&mut &b"half"[..]).is_err());
        for half in [&b"\0\0"[..], &[0, 0, 0, 2, 1], &[0xFF; 9]] {
            let mut from = half;
            let mut text = Vec::new();
            assert!(Payload::new(&mut from).read_to_end(&mut text).is_err());
        }
    }

    #[test]
    fn an_unknown_request_is_told_from_a_known_one() {
        let line = r#"{"request":"receive","name":"a","size":1,"sha256":"b","more":2}"#;
        assert!(serde_json::from_str::<Request>(line).is_ok());
        let line = r#"{"request":"partial","name":"a","offset":0,"bytes":1}"#;
        assert!(serde_json::from_str::<Request>(line).is_ok());
        let line = r#"{"request":"dance"}"#;
        assert!(serde_json::from_str::<Request>(line).is_err());
    }

    proptest! {
        #[test]
        fn payloads_come_as_they_were(parts in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut sent = Vec::new();
            let mut pieces = Pieces::new(&mut sent);
            for part in &parts {
                pieces.write_all(part).expect("memory");
            }
            pieces.end().expect("memory");
            let mut from = sent.as_slice();
            let mut came = Vec::new();
            Payload::new(&mut from).read_to_end(&mut came).expect("a payload");
            prop_assert_eq!(came, parts.concat());
            prop_assert!(from.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let mut from = bytes.as_slice();
            let _ = read_value::<Request>(&mut from);
            let _ = Payload::new(&mut from).read_to_end(&mut Vec::new());
        }
    }
}
