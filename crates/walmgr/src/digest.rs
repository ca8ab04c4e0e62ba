//! SHA-256, as texts and on the way through a stream.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::progress::Progress;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

/// Bytes read at once: large enough for few calls, small enough for the cache.
pub(crate) const BLOCK: usize = 256 * 1024;

/// Blocks that have been read and are not digested yet, at most.
const AHEAD: usize = 8;

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
    pub(crate) fn of_file(path: &Path, progress: &Progress) -> io::Result<(Digest, u64)> {
        Digest::of(&mut Counted {
            from: std::fs::File::open(path)?,
            progress,
        })
    }
}

/// A reader whose bytes are work that is done.
struct Counted<'a, R> {
    from: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(block)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

/// Copies all that a reader gives; digest and size of it.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(Digest, u64)> {
    pump(from, |error| error, |bytes| to.write_all(bytes))
}

/// Hands all that a reader gives on, block by block; digest and size of it.
///
/// What is more than a block is digested by a thread of its own meanwhile: it takes longer than to copy.
///
/// # Errors
/// A block cannot be read, as `unread` puts it, or is not taken.
pub(crate) fn pump<E>(
    from: &mut impl Read,
    unread: impl Fn(io::Error) -> E,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(Digest, u64), E> {
    let mut block = vec![0; BLOCK];
    let mut length = fill(from, &mut block).map_err(&unread)?;
    if length < BLOCK {
        take(&block[..length])?;
        let mut hasher = Hasher::default();
        hasher.update(&block[..length]);
        return Ok((hasher.finish(), length as u64));
    }
    thread::scope(|scope| {
        let (full, taken) = mpsc::sync_channel::<(Vec<u8>, usize)>(AHEAD);
        let (empty, free) = mpsc::channel();
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::default();
            for (block, length) in taken {
                hasher.update(&block[..length]);
                // Nobody needs it when all has been read.
                let _ = empty.send(block);
            }
            hasher.finish()
        });
        let mut size = 0;
        while length > 0 {
            take(&block[..length])?;
            size += length as u64;
            full.send((block, length)).expect("it reads to the end");
            block = free.try_recv().unwrap_or_else(|_| vec![0; BLOCK]);
            length = fill(from, &mut block).map_err(&unread)?;
        }
        drop(full);
        Ok((hashing.join().expect("hashing does not panic"), size))
    })
}

/// Copies all that a reader gives, in large blocks.
pub(crate) fn transfer(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    blocks(from, |error| error, |bytes| to.write_all(bytes)).map(|_| ())
}

/// Hands all that a reader gives on, in large blocks; how much it is.
///
/// # Errors
/// A block cannot be read, as `unread` puts it, or is not taken.
pub(crate) fn blocks<E>(
    from: &mut impl Read,
    unread: impl Fn(io::Error) -> E,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        let length = fill(from, &mut block).map_err(&unread)?;
        if length == 0 {
            return Ok(size);
        }
        take(&block[..length])?;
        size += length as u64;
    }
}

/// Reads until the block is full, or there is no more; bytes that were read.
pub(crate) fn fill(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match from.read(&mut block[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
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
    use proptest::prelude::*;

    use super::{BLOCK, Digest, Hasher, copy};

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
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn all_sizes_are_copied_and_digested(
            size in prop_oneof![0..3usize, BLOCK - 2..BLOCK + 2, 0..12 * BLOCK], byte in any::<u8>(),
        ) {
            let bytes: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[at % 3] ^ byte).collect();
            let mut copied = Vec::new();
            let (digest, length) = copy(&mut bytes.as_slice(), &mut copied).expect("memory");
            let mut hasher = Hasher::default();
            hasher.update(&bytes);
            prop_assert_eq!(digest, hasher.finish());
            prop_assert_eq!(length, size as u64);
            prop_assert!(copied == bytes);
        }
    }
}
