//! SHA-256, as texts and on the way through a stream.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

/// Bytes read at once: large enough for few calls, small enough for the cache.
const BLOCK: usize = 256 * 1024;

/// Puts bytes together to a digest.
#[derive(Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Digest {
    /// Digest and size of all that a reader gives.
    pub(crate) fn of(from: &mut impl Read) -> io::Result<(Digest, u64)> {
        copy(from, &mut io::sink())
    }

    /// Digest and size of a file.
    pub(crate) fn of_file(path: &Path) -> io::Result<(Digest, u64)> {
        Digest::of(&mut std::fs::File::open(path)?)
    }
}

/// Copies all that a reader gives; digest and size of it.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        let read = match from.read(&mut block) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&block[..read]);
        to.write_all(&block[..read])?;
        size += read as u64;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest of 64 hexadecimal digits")]
pub(crate) struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| NotADigest)?;
        }
        Ok(Digest(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn a_digest_is_that_of_everybody_else_and_is_read_back() {
        let (digest, size) = Digest::of(&mut &b"abc"[..]).expect("memory can be read");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((digest.to_string().as_str(), size), (text, 3));
        assert_eq!(text.parse(), Ok(digest));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace('b', "x")] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
