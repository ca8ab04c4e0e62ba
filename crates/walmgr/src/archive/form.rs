//! How a file of the archive is stored: as it is, or compressed.
//!
//! Name, size and digest always mean what the server wrote. Only finished segments are compressed: everything
//! else is small, or is read in place.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::names::WalName;

/// What is said instead of a compressed file that goes on after its end.
const MORE: &str = "something follows its end";

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    #[default]
    Plain,
    Zstd,
    Lz4,
}

impl Form {
    pub(crate) const ALL: [Form; 3] = [Form::Plain, Form::Zstd, Form::Lz4];

    /// In configurations, and between master and slave.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Zstd => "zstd",
            Form::Lz4 => "lz4",
        }
    }

    /// The end of the file's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Form::Plain => "",
            Form::Zstd => ".zst",
            Form::Lz4 => ".lz4",
        }
    }

    /// The form for a file, if this is asked for.
    pub(crate) fn for_name(self, name: WalName) -> Form {
        match name {
            WalName::Segment(_) => self,
            _ => Form::Plain,
        }
    }

    /// Name of the file.
    pub(crate) fn file_name(self, name: WalName) -> String {
        format!("{name}{}", self.suffix())
    }

    /// What a file of the archive is; `None` for something else.
    pub(crate) fn parse(file: &OsStr) -> Option<(WalName, Form)> {
        let file = file.to_str()?;
        let compressed = [Form::Zstd, Form::Lz4];
        let found = compressed
            .into_iter()
            .find_map(|form| Some((file.strip_suffix(form.suffix())?, form)));
        match found {
            None => Some((file.parse().ok()?, Form::Plain)),
            Some((name, form)) => {
                let name: WalName = name.parse().ok()?;
                matches!(name, WalName::Segment(_)).then_some((name, form))
            }
        }
    }

    /// Writes all that a reader gives in this form.
    pub(crate) fn encode<W: Write>(self, from: &mut impl Read, mut to: W) -> io::Result<()> {
        match self {
            Form::Plain => digest::transfer(from, &mut to),
            // The level that costs least: the archiver waits for it.
            Form::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(to, 1)?;
                digest::transfer(from, &mut encoder)?;
                encoder.finish().map(|_| ())
            }
            Form::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(to);
                digest::transfer(from, &mut encoder)?;
                encoder.finish()?;
                Ok(())
            }
        }
    }

    /// What is stored in this form, as the server wrote it. Anything behind its end is an error; what is cut off
    /// may just be shorter, so its size has to be known.
    pub(crate) fn decode<'a>(self, from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let from = BufReader::with_capacity(128 * 1024, from);
        Ok(match self {
            Form::Plain => Box::new(from),
            Form::Zstd => Box::new(Whole {
                decoder: zstd::stream::read::Decoder::with_buffer(from)?.single_frame(),
                rest: |decoder| decoder.get_mut(),
                is_over: false,
            }),
            Form::Lz4 => Box::new(Whole {
                decoder: lz4_flex::frame::FrameDecoder::new(from),
                rest: |decoder| decoder.get_mut(),
                is_over: false,
            }),
        })
    }
}

/// One compressed stream and nothing else.
struct Whole<D, R> {
    decoder: D,
    /// What is behind the stream.
    rest: fn(&mut D) -> &mut R,
    is_over: bool,
}

impl<D: Read, R: BufRead> Read for Whole<D, R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.is_over || block.is_empty() {
            return Ok(0);
        }
        let read = self.decoder.read(block)?;
        if read == 0 {
            self.is_over = true;
            if !(self.rest)(&mut self.decoder).fill_buf()?.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, MORE));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::Read;

    use proptest::prelude::*;

    use super::Form;

    fn encoded(form: Form, bytes: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        form.encode(&mut &*bytes, &mut encoded).expect("memory");
        encoded
    }

    fn decoded(form: Form, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        form.decode(bytes)?.read_to_end(&mut decoded)?;
        Ok(decoded)
    }

    #[test]
    fn only_segments_have_other_forms() {
        let parse =
            |name: &str| Form::parse(OsStr::new(name)).map(|(name, form)| (name.to_string(), form));
        let segment = "0000000100000000000000A0";
        for form in Form::ALL {
            let name = form.file_name(segment.parse().expect("a name"));
            assert_eq!(parse(&name), Some((segment.to_owned(), form)));
        }
        for name in [
            "00000002.history.zst",
            "0000000100000000000000A0.partial.lz4",
            "0000000100000000000000A0.zst.zst",
            "0000000100000000000000A0.gz",
            ".0000000100000000000000A0.zst",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_no_file() {
        let bytes: Vec<u8> = (0..300_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for form in [Form::Zstd, Form::Lz4] {
            let whole = encoded(form, &bytes);
            assert!(whole.len() < bytes.len() / 2);
            assert!(decoded(form, &whole).expect("whole") == bytes);
            for length in [0, 1, 4, 7, whole.len() / 2, whole.len() - 5] {
                let is_whole = decoded(form, &whole[..length]).is_ok_and(|got| got == bytes);
                assert!(!is_whole, "{form:?} {length}");
            }
            for more in [&b"x"[..], &whole] {
                let more = [whole.as_slice(), more].concat();
                assert!(decoded(form, &more).is_err(), "{form:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_form_gives_back_what_went_in(bytes in any::<Vec<u8>>()) {
            for form in Form::ALL {
                prop_assert_eq!(decoded(form, &encoded(form, &bytes)).expect("whole"), bytes.clone());
            }
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            for form in Form::ALL {
                let _ = decoded(form, &bytes);
                // With a beginning that looks right.
                let mut whole = encoded(form, b"abc");
                whole.truncate(8);
                whole.extend(&bytes);
                let _ = decoded(form, &whole);
            }
        }
    }
}
