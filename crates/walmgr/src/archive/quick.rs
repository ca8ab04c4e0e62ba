//! Whether a file of the archive is still what it was when it was verified, told faster than it is copied.
//!
//! A server waits for each segment that it asks for, and SHA-256 takes longer than to copy one. So a second digest of
//! what is stored is noted beside the first: XXH3, of 128 bits, which damage does not get past. It says nothing that
//! the first does not, and is not trusted to say that a file is wrong; whatever is the matter with it, the first
//! decides. So it need not be on disk when a file is reported.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use twox_hash::xxhash3_128::Hasher;

/// Digest and size of a file as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quick {
    digest: u128,
    size: u64,
}

impl Quick {
    /// What was noted; `None` if that is nothing, or not readable.
    pub(super) fn read(path: &Path) -> Option<Quick> {
        let text = fs::read_to_string(path).ok()?;
        let (digest, size) = text.strip_suffix('\n')?.split_once(' ')?;
        let digest = Some(digest).filter(|digest| digest.len() == 32)?;
        Some(Quick {
            digest: u128::from_str_radix(digest, 16).ok()?,
            size: size.parse().ok()?,
        })
    }

    pub(super) fn write(self, path: &Path) -> io::Result<()> {
        fs::write(path, format!("{:032x} {}\n", self.digest, self.size))
    }
}

/// What passes, and what it comes to.
pub(crate) struct Quickly<T> {
    inner: T,
    hasher: Hasher,
    size: u64,
}

impl<T> Quickly<T> {
    pub(crate) fn new(inner: T) -> Quickly<T> {
        Quickly {
            inner,
            hasher: Hasher::new(),
            size: 0,
        }
    }

    pub(crate) fn finish(self) -> Quick {
        Quick {
            digest: self.hasher.finish_128(),
            size: self.size,
        }
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<R: Read> Read for Quickly<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(block)?;
        self.saw(&block[..read]);
        Ok(read)
    }
}

impl<W: Write> Write for Quickly<W> {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(block)?;
        self.saw(&block[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};

    use super::{Quick, Quickly};

    #[test]
    fn a_note_is_read_as_it_was_written_or_not_at_all() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("note");
        assert_eq!(Quick::read(&path), None);
        let bytes = vec![7; 1 << 20];
        let mut to = Quickly::new(Vec::new());
        to.write_all(&bytes)?;
        let written = to.finish();
        written.write(&path)?;
        assert_eq!(Quick::read(&path), Some(written));
        let mut from = Quickly::new(bytes.as_slice());
        from.read_to_end(&mut Vec::new())?;
        assert_eq!(from.finish(), written);
        let text = fs::read_to_string(&path)?;
        for length in 0..text.len() {
            fs::write(&path, &text[..length])?;
            assert_eq!(Quick::read(&path), None, "{length}");
        }
        // Any bit that changes shows.
        for at in [0, 1 << 10, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let mut from = Quickly::new(other.as_slice());
            from.read_to_end(&mut Vec::new())?;
            assert_ne!(from.finish(), written);
        }
        Ok(())
    }

    #[test]
    fn it_is_the_digest_of_everybody_else() {
        // Of no bytes, as the specification of XXH3 has it.
        let digest = Quickly::new(std::io::sink()).finish().digest;
        assert_eq!(digest, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
