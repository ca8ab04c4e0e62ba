//! A file on its way into the archive: written by one thread, and judged by another.
//!
//! A digest takes longer than a copy, and the disk as long again. So what has been written is read back, taken out
//! of its form and digested while the rest comes and while the disk is waited for.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use skytools::failpoint;

use super::error::At;
use super::{Announced, ArchiveError, Form, Quick, Quickly, check_content};
use crate::digest::{self, BLOCK, Digest, Hasher};
use crate::durable::Scratch;
use crate::page::{HEADER, Header};

/// What came.
pub(super) struct Content {
    pub(super) digest: Digest,
    /// Of a segment.
    pub(super) header: Option<Header>,
}

/// Puts all that comes into a scratch file, which is on disk when this returns; `good` is told of it as soon as
/// it is known to be what was announced, and what it has to do is done meanwhile. Answers with what `good` does.
///
/// # Errors
/// It does not come, is not what was announced, or cannot be written; or what `good` says.
pub(super) fn take<R: Send>(
    dir: &Path,
    scratch: &Scratch,
    file: &Announced,
    from: &mut impl Read,
    good: impl FnOnce(Content) -> Result<R, ArchiveError> + Send,
) -> Result<(R, Quick), ArchiveError> {
    let (written, told) = mpsc::channel();
    thread::scope(|scope| {
        let judging = scope.spawn(move || {
            let read_back = ReadBack::new(&scratch.file, told);
            good(judge(scratch.path(), file, read_back)?)
        });
        let stored = store(dir, scratch, file, from, written);
        let judged = judging.join().expect("judging does not panic");
        // What did not come whole is wrong, too.
        let quick = stored?;
        Ok((judged?, quick))
    })
}

/// Writes what comes, as it comes, and has it on disk; less if it is known to be wrong before.
fn store(
    dir: &Path,
    scratch: &Scratch,
    file: &Announced,
    from: &mut impl Read,
    written: Sender<usize>,
) -> Result<Quick, ArchiveError> {
    let Announced {
        name, size, form, ..
    } = *file;
    let path = scratch.path();
    let unwritten = |error: io::Error| match error.kind() {
        ErrorKind::StorageFull => Err(ArchiveError::DiskFull {
            dir: dir.to_owned(),
            needed: size,
            free: 0,
        }),
        _ => Err(error).at("write", path),
    };
    // One more than announced shows that it is not what was announced.
    let most = match form {
        Form::Plain => size + 1,
        Form::Zstd | Form::Lz4 => u64::MAX,
    };
    let mut from = from.take(most);
    let mut to = Quickly::new(&scratch.file);
    let mut block = vec![0; BLOCK];
    loop {
        let length = digest::fill(&mut from, &mut block)
            .map_err(|source| ArchiveError::Input { name, source })?;
        if length == 0 {
            break;
        }
        to.write_all(&block[..length]).or_else(unwritten)?;
        failpoint::step("xreceive.block");
        if written.send(length).is_err() {
            return Ok(to.finish());
        }
    }
    drop(written);
    scratch.file.sync_all().or_else(unwritten)?;
    Ok(to.finish())
}

/// Looks at what is written, to its end.
fn judge(path: &Path, file: &Announced, from: ReadBack<'_>) -> Result<Content, ArchiveError> {
    let Announced {
        name, size, form, ..
    } = *file;
    let unread = |source| ArchiveError::Input { name, source };
    let mut content = form.decode(from).at("read", path)?.take(size + 1);
    let mut hasher = Hasher::default();
    let mut head = Vec::new();
    let mut got = 0;
    let mut block = vec![0; BLOCK];
    loop {
        let length = digest::fill(&mut content, &mut block).map_err(unread)?;
        if length == 0 {
            break;
        }
        head.extend(block[..length].iter().take(HEADER - head.len()));
        hasher.update(&block[..length]);
        got += length as u64;
    }
    if got < size {
        return Err(ArchiveError::Short { name, got, size });
    }
    if got > size {
        return Err(ArchiveError::wrong(
            name,
            format!("more than its {size} bytes came"),
        ));
    }
    let digest = hasher.finish();
    match file.digest {
        Some(announced) if announced != digest => Err(ArchiveError::wrong(
            name,
            format!("it was damaged on the way: SHA-256 {digest}, and not {announced}"),
        )),
        _ => Ok(Content {
            digest,
            header: check_content(name, size, &head)?,
        }),
    }
}

/// A file that is being written, read behind the writer.
pub(crate) struct ReadBack<'a> {
    file: &'a File,
    at: u64,
    /// Bytes that are known to be there.
    known: u64,
    /// How many more there are; closed at the end.
    told: Receiver<usize>,
}

impl<'a> ReadBack<'a> {
    pub(crate) fn new(file: &'a File, told: Receiver<usize>) -> ReadBack<'a> {
        ReadBack {
            file,
            at: 0,
            known: 0,
            told,
        }
    }
}

impl Read for ReadBack<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        while self.at == self.known {
            match self.told.recv() {
                Ok(more) => self.known += more as u64,
                Err(_) => return Ok(0),
            }
        }
        let there = usize::try_from(self.known - self.at).unwrap_or(usize::MAX);
        let most = there.min(block.len());
        let read = self.file.read_at(&mut block[..most], self.at)?;
        if read == 0 && most > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
